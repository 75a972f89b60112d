"""Grey pictures, and what is seen of people made of them."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor


def photo(value: float, height: int = 40, width: int = 40, batch: int = 1) -> Tensor:
    return torch.full((batch, height, width, 3), value)


def shown(person: Any) -> tuple[str, list[float]]:
    """The name, and the grey values of the photos in tenths."""
    return person.name, [round(float(p.mean()) * 10) for p in person.images]


def save(folder: Path, pictures: dict[str, float], size: tuple[int, int] = (40, 40)) -> None:
    """Pictures of these names and shades."""
    for name, value in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (round(value * 255),) * 3).save(folder / name)
