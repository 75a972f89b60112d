"""Whole photographs made of sample faces, and the photo nodes with their defaults."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from models import load_image
from torch import Tensor


class Photos:
    """Photos of known people: 2 and 11 side by side, nobody, and 4, 8 and 6 small in a row."""

    def __init__(self, faces: Path):
        self.faces = faces
        self.two = self.row("2-lq1-gt", "11-lq1-gt")
        self.none = torch.linspace(0.2, 0.8, 300)[None, None, :, None].expand(1, 200, 300, 3)
        self.three = half(self.row("4-lq1-gt", "8-lq1-gt", "6-lq1-gt"))

    def reference(self, person: str) -> Tensor:
        return load_image(self.faces / f"samples/{person}-ref1.png")[..., :3]

    def row(self, *names: str) -> Tensor:
        """(1, 512, 512 n, 3)."""
        images = [load_image(self.faces / f"samples/{name}.png")[..., :3] for name in names]
        return torch.cat(images, dim=2)


def half(image: Tensor) -> Tensor:
    small = F.interpolate(image.movedim(-1, 1), scale_factor=0.5, mode="bilinear", antialias=True)
    return small.movedim(1, -1).contiguous()


class PhotoNodes:
    """The three nodes as ComfyUI runs them: every input a list, their defaults, some replaced."""

    def __init__(self, extension: ModuleType, restorer: Any, clip_vision: Any):
        def node(module: str, name: str) -> Any:
            return getattr(import_module(f"{extension.__name__}.nodes.{module}"), name)

        self.person = import_module(f"{extension.__name__}.restorerid_core.faces.people").Person
        self.crop = node("photograph.face_crop", "RestorerIDFaceCrop")
        self.match = node("photograph.match_faces", "RestorerIDMatchFaces")
        self.paste = node("photograph.face_paste", "RestorerIDFacePaste")
        self.all = (self.crop, self.match, self.paste)
        self.crop_inputs = {
            "order": "left to right",
            "faces": "all",
            "max_faces": 0,
            "min_size": 0,
            "size": 512,
            "face_models": "auto",
        }
        self.match_inputs = {
            "restorerid": restorer,
            "clip_vision": clip_vision,
            "threshold": 0.25,
            "once": True,
            "unmatched": "restore blind",
            "choices": "",
            "faces_per_run": 8,
        }
        self.paste_inputs = {"feather": 0.3, "color": "auto", "grain": 1.0}

    def people(self, photos: Photos, *names: str) -> tuple[Any, ...]:
        """References called as the samples."""
        return tuple(self.person(name, (photos.reference(name)[0],)) for name in names)

    def run_crop(self, photo: list[Tensor], **changes: Any) -> Any:
        """(images, crops, previews, report)."""
        inputs = _listed({**self.crop_inputs, **changes})
        return self.crop.execute(photo=photo, **inputs).result

    def run_match(self, crops: list[Any], people: tuple[Any, ...], **changes: Any) -> Any:
        """(identities, images, crops, report)."""
        inputs = _listed({**self.match_inputs, **changes})
        return self.match.execute(crops=crops, references=[people], **inputs).result

    def run_paste(
        self, photo: list[Tensor], crops: list[Any], restored: list[Tensor] | None, **changes: Any
    ) -> Any:
        """(photos, masks, report)."""
        inputs = _listed({**self.paste_inputs, **changes})
        return self.paste.execute(photo=photo, crops=crops, restored=restored, **inputs).result


def _listed(inputs: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [value] for name, value in inputs.items()}


def numbers(faces: Any) -> list[int]:
    return [face.number for face in faces]


def blocked(value: Any) -> bool:
    return type(value).__name__ == "ExecutionBlocker"
