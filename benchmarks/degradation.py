"""Speed of the degradation, or how much of a face it leaves."""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from restorerid_core.degradation.config import PRESETS
from restorerid_core.degradation.pipeline import Degradation
from restorerid_core.faces.align import ARCFACE_FACE, align_face
from restorerid_core.faces.find.analyzer import FaceAnalyzer, load_analyzer
from restorerid_core.faces.find.packs import find_pack
from restorerid_core.images.prepare import bgr_from_image, resize
from restorerid_core.photo_files.read import read_photo

FFHQ_LANDMARKS = np.array(
    [[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]],
    np.float32,
)
"""Eyes, nose and mouth corners of an aligned photo of 512 px."""


def speed(degradation: Degradation, size: int, images: int, cores: int) -> str:
    """Images a second, `cores` images at a time, and the processor time of one image."""
    photo = torch.rand(1, 3, size // 8, size // 8, generator=torch.Generator().manual_seed(0))
    photo = resize(photo, (size, size))
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(partial(degradation, photo), range(2 * cores)))
        wall, cpu = time.perf_counter(), time.process_time()
        list(pool.map(partial(degradation, photo), range(images)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return f"{images / wall:6.1f} images/s  (processor time of an image {cpu / images:.3f} s)"


def cosines(
    degradation: Degradation, photos: list[Tensor], analyzer: FaceAnalyzer, seeds: int
) -> np.ndarray:
    """ArcFace cosine of each copy to its original, at the original's landmarks: a face that could
    not be found again counts too. (photos, seeds)"""

    def embed(image: Tensor) -> np.ndarray:
        landmarks = FFHQ_LANDMARKS * (image.shape[-1] / 512)
        crop = align_face(bgr_from_image(image), landmarks, ARCFACE_FACE)
        embedding = analyzer.recognizer.get_feat(crop).ravel()
        return embedding / np.linalg.norm(embedding)

    return np.array(
        [
            [
                embed(photo) @ embed(degradation(photo[None], 1000 * seed + number)[0])
                for seed in range(seeds)
            ]
            for number, photo in enumerate(photos)
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, help="folder of NNN/gt.jpg, aligned to FFHQ")
    parser.add_argument("--models", type=Path, help="folder of insightface models, for --faces")
    parser.add_argument("--size", type=int, default=512, help="px; default: %(default)s")
    parser.add_argument("--images", type=int, default=50, help="timed; default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="for --faces; default: %(default)s")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="images at a time")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a core for each image, as the command does
    degradations = {name: Degradation(config) for name, config in PRESETS.items()}

    print(f"{args.size} px, {args.cores} core(s)")
    if not args.faces:
        for name, degradation in degradations.items():
            print(f"{name:<9}", speed(degradation, args.size, args.images, args.cores))
        return
    analyzer = load_analyzer(find_pack([args.models]))
    photos = [
        resize(read_photo(path).movedim(-1, 0)[None], (args.size, args.size))[0]
        for path in sorted(args.faces.glob("*/gt.jpg"))
    ]
    for name, degradation in degradations.items():
        found = cosines(degradation, photos, analyzer, args.seeds)
        error = found.mean(1).std(ddof=1) / len(photos) ** 0.5
        low, high = np.percentile(found, [5, 95])
        spread = f"(5 to 95 %: {low:.2f} to {high:.2f})"
        print(f"{name:<9} cosine {found.mean():.3f} ± {error:.3f}  {spread}")


if __name__ == "__main__":
    main()
