"""A tiny authors' file, and real photos with the small face models."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from adapter_files import full_weights
from PIL import Image
from torch import Tensor

from restorerid_core.faces.align import photo_from_image
from restorerid_core.faces.detect import FaceAnalyzer, load_analyzer
from restorerid_core.faces.packs import find_pack


@pytest.fixture(scope="session")
def weights() -> dict[str, Tensor]:
    """The `state_dict` of a tiny authors' file; copy it before changing it."""
    return full_weights()


@pytest.fixture(scope="module")
def analyzer(faces_dir: Path) -> FaceAnalyzer:
    return load_analyzer(find_pack([faces_dir]))


@pytest.fixture(scope="module")
def read_photo(faces_dir: Path) -> Callable[[str], np.ndarray]:
    """A sample by its path, as an (H, W, 3) uint8 BGR photo."""

    def read(name: str) -> np.ndarray:
        rgb = np.asarray(Image.open(faces_dir / name).convert("RGB"))
        return photo_from_image(torch.from_numpy(rgb / np.float32(255)).movedim(-1, 0))

    return read
