"""Grey pictures, and people made of them, for the nodes that name people."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor


def photo(value: float, height: int = 40, width: int = 40, batch: int = 1) -> Tensor:
    return torch.full((batch, height, width, 3), value)


def people(reference: Any, image: list[Tensor], name: list[str], **changes: Any) -> list[Any]:
    """Runs the node as ComfyUI does, every input a list."""
    inputs = {"face": ["largest"], "face_index": [0], **changes}
    return list(reference.execute(image=image, name=name, **inputs).result[0])


def shown(person: Any) -> tuple[str, list[float]]:
    """The name, and the grey values of the photos in tenths."""
    return person.name, [round(float(p.mean()) * 10) for p in person.photos]


def save(path: Path, value: float = 0.5, size: tuple[int, int] = (40, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (round(value * 255),) * 3).save(path)
