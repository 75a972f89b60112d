"""A folder that `prepare` made: which faces it holds, and their pictures and features."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from ...errors import RestorerIDError
from .shards import FaceFiles

INDEX = "index.json"
UNCONDITIONAL = "unconditional.safetensors"
"""What CLIP gives for nothing, which stands for "no identity" in training."""


@dataclass(frozen=True)
class PreparedFace:
    """`name` is that of its files without ending; `person` None where nobody knows."""

    name: str
    person: str | None


class PreparedFaces:
    """The faces of one folder.

    Attributes:
        root: the folder.
        size: side of the pictures, px.
        has_clip: whether features of CLIP were kept.
        faces: in the order of the index.

    Raises:
        RestorerIDError: `prepare` did not make or not finish this folder.
    """

    def __init__(self, root: Path):
        self.root = root
        try:
            index = json.loads((root / INDEX).read_text(encoding="utf-8"))
            self.size: int = index["size"]
            self.has_clip: bool = index["clip"]
            self.faces = [PreparedFace(face["name"], face["person"]) for face in index["faces"]]
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise RestorerIDError(
                f"'{root}' has no usable {INDEX} ({type(error).__name__}); expected a folder that "
                "`python -m restorerid_core prepare` has finished: run it (again)."
            ) from error
        self._files = FaceFiles(root)

    def people(self) -> dict[str, list[PreparedFace]]:
        """The faces of those of whom there are two or more."""
        found: dict[str, list[PreparedFace]] = {}
        for face in self.faces:
            if face.person is not None:
                found.setdefault(face.person, []).append(face)
        return {person: faces for person, faces in found.items() if len(faces) > 1}

    def picture(self, face: PreparedFace) -> Tensor:
        """(3, size, size) RGB in [0, 1]."""
        from PIL import Image

        with Image.open(io.BytesIO(self._files.read(f"{face.name}.png")), formats=["PNG"]) as image:
            pixels = np.array(image.convert("RGB"))
        return torch.from_numpy(pixels).movedim(-1, 0).float().div_(255)

    def features(self, face: PreparedFace) -> dict[str, Tensor]:
        """float32: `embedding` (512,) at unit length and, where kept, `clip` (257, 1280)."""
        tensors = load(self._files.read(f"{face.name}.safetensors"))
        return {name: tensor.float() for name, tensor in tensors.items()}

    def unconditional_clip(self) -> Tensor:
        """(1, 257, 1280) float32: CLIP's features of all-zero normalised pixels.

        Raises:
            RestorerIDError: features of CLIP were not kept.
        """
        if not self.has_clip:
            raise RestorerIDError(
                f"'{self.root}' has no features of CLIP: prepare the photos anew with "
                "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors in the models folder."
            )
        return load((self.root / UNCONDITIONAL).read_bytes())["clip"][None].float()
