"""Time and memory of the faces of a photo: `python benchmarks/faces.py PHOTO --models DIR`."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory_of_tensors import peak_bytes
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from restorerid_core.faces.crop import CropFace, crop_faces
from restorerid_core.faces.find.analyzer import load_analyzer
from restorerid_core.faces.find.packs import find_pack
from restorerid_core.faces.paste import PasteSettings, paste_faces
from restorerid_core.images.prepare import bgr_from_image


def read(path: Path) -> torch.Tensor:
    """(1, 3, H, W) in [0, 1], in memory as ComfyUI lays it out."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    return (torch.from_numpy(rgb.copy())[None].float() / 255).movedim(-1, 1)


def seconds(run: Callable[[], Any], repeats: int) -> str:
    """Median and spread, after one run that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return f"{statistics.median(times):7.3f} s  ({min(times):.3f} to {max(times):.3f})"


def process_peak(run: Callable[[], Any]) -> int:
    """Bytes by which the process grew at most (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory_of_process("VmRSS")
    run()
    return memory_of_process("VmHWM") - before


def memory_of_process(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(entry))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of insightface models")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    analyzer = load_analyzer(pack := find_pack([args.models]))
    photo = read(args.photo)
    picture = bgr_from_image(photo[0])
    faces = [CropFace.of(face, n) for n, face in enumerate(analyzer.find_all(picture), 1)]
    crops = crop_faces(photo, faces, [], pack)
    restored = (crops.images + 0.05).clamp(0, 1)

    def paste() -> None:
        paste_faces(photo, [(crops, restored)], PasteSettings())

    # First of all, for later runs may reuse memory that the process has kept.
    process = process_peak(paste)
    height, width = photo.shape[2:]
    print(f"{args.photo.name}: {width}x{height} px, {len(faces)} faces, {args.threads} thread(s)")
    print("find_all   ", seconds(lambda: analyzer.find_all(picture), args.repeats))
    print("crop_faces ", seconds(lambda: crop_faces(photo, faces, [], pack), args.repeats))
    print("paste_faces", seconds(paste, args.repeats))
    tensors = peak_bytes(paste)
    print("memory of paste_faces in copies of the photo, the given photo included:")
    print(f"  tensors {1 + tensors / photo.nbytes:.2f}, process {1 + process / photo.nbytes:.2f}")


if __name__ == "__main__":
    main()
