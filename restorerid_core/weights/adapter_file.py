"""Load the adapter from the authors' full checkpoint or from our slim file."""

import json
import logging
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from ..adapter.config import FACE_PROJECTOR, ModelConfig
from ..errors import RestorerIDError
from .layout import (
    ADAPTER_GROUPS,
    FULL,
    SLIM,
    Shapes,
    expected_shapes,
    group_of,
    identify,
    lora_shapes,
    missing_groups,
)
from .tensors import TensorFile, cast, open_tensors

log = logging.getLogger(__name__)

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FORMAT = "restorerid-adapter"
FORMAT_VERSION = "1"


@dataclass(frozen=True)
class AdapterFile:
    """The adapter's weights, on the CPU in the file's dtype, and all finite.

    They are in memory, not mapped from the file: the system ends a process that reads a mapped file
    which another one has truncated.

    `adapter` has the keys of `Adapter`, `face_projector` those of `FaceProjector`, and `lora` the
    authors' keys, `model.diffusion_model.….attn{1,2}.to_{q,k,v,out}_lora.{down,up}.weight`.
    `slim` is false for a file that holds SD-1.5 as well.
    """

    config: ModelConfig
    adapter: dict[str, Tensor]
    face_projector: dict[str, Tensor]
    lora: dict[str, Tensor]
    metadata: dict[str, str]
    slim: bool


def load_adapter(path: str | PathLike[str]) -> AdapterFile:
    """Load the authors' `RestorerIDFull.ckpt` or our slim file, pickle or safetensors alike.

    Raises:
        RestorerIDError: the file is missing, unreadable, malicious, or not RestorerID's.
    """
    path = Path(path)
    file = open_tensors(path)
    config = check(path.name, file)
    wanted = {key: _held(path.name, file, key) for key in expected_shapes(config)}
    lora = {key: wanted.pop(key) for key in lora_shapes(config)}
    return AdapterFile(
        config=config,
        adapter={k: v for k, v in wanted.items() if not k.startswith(FACE_PROJECTOR)},
        face_projector={
            key.removeprefix(FACE_PROJECTOR): tensor
            for key, tensor in wanted.items()
            if key.startswith(FACE_PROJECTOR)
        },
        lora=lora,
        metadata=file.metadata,
        slim=identify(file.shapes) is SLIM,
    )


def check(name: str, file: TensorFile) -> ModelConfig:
    """The sizes of the adapter in a file called `name`.

    Raises:
        RestorerIDError: it lacks a group or a tensor, or one has another shape than the rest imply.
    """
    shapes = file.shapes
    kind, missing = identify(shapes), missing_groups(shapes)
    if kind not in (FULL, SLIM):
        lacks = f" and lacks {', '.join(missing)}" if missing else ""
        raise RestorerIDError(f"'{name}' is {kind.label}{lacks}; {kind.advice}")
    version = file.metadata.get("version")
    if file.metadata.get("format") == FORMAT and version != FORMAT_VERSION:
        raise RestorerIDError(
            f"'{name}' has version {version} of the adapter format, but this RestorerID reads"
            f" version {FORMAT_VERSION}; update RestorerID."
        )
    config = _config(name, file)
    expected = _expected(name, config)
    _compare(name, shapes, expected)
    for key in expected:
        if file.tensors[key].dtype not in DTYPES:
            raise RestorerIDError(
                f"The tensor '{key}' of '{name}' holds {file.tensors[key].dtype}, which cannot be"
                " computed with, instead of float16, bfloat16 or float32; convert the authors'"
                " RestorerIDFull.ckpt again."
            )
    extra = [key for key in shapes if key not in expected and group_of(key) in ADAPTER_GROUPS]
    if extra:
        log.warning(
            "'%s' holds %d tensors that RestorerID has no place for and that are not used,"
            " such as '%s'.",
            name,
            len(extra),
            extra[0],
        )
    return config


def check_values(name: str, file: TensorFile, config: ModelConfig) -> None:
    """Raises RestorerIDError where a weight of the adapter is NaN or infinite."""
    for key in expected_shapes(config):
        cast(file.tensors[key], file.tensors[key].dtype, key, name)


def _held(name: str, file: TensorFile, key: str) -> Tensor:
    """A tensor in memory, which `check_values` would let pass."""
    tensor = file.tensors[key]
    return cast(tensor, tensor.dtype, key, name, copy=file.mapped)


def _config(name: str, file: TensorFile) -> ModelConfig:
    try:
        config = ModelConfig.from_shapes(file.shapes, _stated(file))
    except RestorerIDError as error:
        raise RestorerIDError(f"'{name}' cannot be used: {error}") from error
    return config


def _stated(file: TensorFile) -> dict[str, object]:
    """What our own slim files say of themselves under "config"."""
    if file.metadata.get("format") != FORMAT:
        return {}
    try:
        stated = json.loads(file.metadata.get("config", "{}"))
    except (ValueError, RecursionError) as error:
        raise RestorerIDError(
            f"its metadata cannot be read ({type(error).__name__}); fetch or train the file anew."
        ) from error
    return stated if isinstance(stated, dict) else {}


def _expected(name: str, config: ModelConfig) -> Shapes:
    try:
        return expected_shapes(config)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise RestorerIDError(
            f"'{name}' does not have RestorerID's architecture: no network has its sizes"
            f" ({str(error).partition(chr(10))[0]}); download or convert the file again."
        ) from error


def _compare(name: str, shapes: Shapes, expected: Shapes) -> None:
    wrong = [key for key, shape in expected.items() if shapes.get(key) != shape]
    if wrong:
        key = wrong[0]
        found = f"has shape {tuple(shapes[key])}" if key in shapes else "is missing"
        others = f" (and {len(wrong) - 1} others are wrong)" if len(wrong) > 1 else ""
        raise RestorerIDError(
            f"'{name}' does not have RestorerID's architecture: its tensor '{key}' {found}, where"
            f" shape {tuple(expected[key])} is expected{others}; download or convert the file"
            " again."
        )
