"""Pickled checkpoints, read without letting the file run anything.

`torch.load(weights_only=True)` builds tensors and plain containers only. A checkpoint that
PyTorch Lightning wrote names a few more classes (its callbacks, its hyper-parameters); each of
them is replaced by an empty stand-in below, so nothing that a file names is imported or called.
"""
import logging
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import RestorerIDError

log = logging.getLogger(__name__)

MAX_DEPTH = 2
ADVICE = "take the checkpoint from the authors' page or use a .safetensors file."


class _Ignored:
    """Takes any arguments and state, and keeps none."""

    def __new__(cls, *args: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *args: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _PlainDict(_Ignored):
    """A dict in place of one of its subclasses."""

    def __new__(cls, *args: Any) -> Any:
        return {}


_STAND_INS = {
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint": _Ignored,
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint": _Ignored,
    "numpy.core.multiarray.scalar": _Ignored,
    "numpy._core.multiarray.scalar": _Ignored,
    "numpy.dtype": _Ignored,
    "_codecs.encode": _Ignored,
    "omegaconf.base.ContainerMetadata": _Ignored,
    "omegaconf.base.Metadata": _Ignored,
    "omegaconf.dictconfig.DictConfig": _Ignored,
    "omegaconf.listconfig.ListConfig": _Ignored,
    "omegaconf.nodes.AnyNode": _Ignored,
    "typing.Any": _Ignored,
    "builtins.int": _Ignored,
    "builtins.list": _Ignored,
    "builtins.dict": _PlainDict,
    "collections.defaultdict": _PlainDict,
    "pytorch_lightning.utilities.parsing.AttributeDict": _PlainDict,
    "lightning_fabric.utilities.data.AttributeDict": _PlainDict,
    "lightning.fabric.utilities.data.AttributeDict": _PlainDict,
}


@contextmanager
def _stand_ins_only() -> Iterator[None]:
    """Let in nothing but the stand-ins: a host may have allowed real classes of these names."""
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(
        [
            type(name.rpartition(".")[2], (base,), {"__module__": name.rpartition(".")[0]})
            for name, base in _STAND_INS.items()
        ]
    )
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed)


def read_pickle(path: Path, mapped: bool) -> dict[str, Tensor]:
    """The tensors of a pickled checkpoint, by key.

    `mapped` maps them from the file, which torch's format from before 1.6 does not allow. Keys of
    nested dicts are joined by dots, and what lies under `state_dict` loses that prefix.

    Raises:
        RestorerIDError: the file asks for a global that weights have no use for, or is damaged.
    """
    if not mapped:
        log.warning("'%s' is a pickle of the old format: all of it is read into memory.", path.name)
    try:
        with warnings.catch_warnings(), _stand_ins_only():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols; refused below
            content = torch.load(path, weights_only=True, mmap=mapped, map_location="cpu")
        if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
            content = content["state_dict"]
        return dict(_flatten(content)) if isinstance(content, Mapping) else {}
    except RestorerIDError as error:
        raise RestorerIDError(f"'{path.name}' {error}") from error
    except Exception as error:  # damaged bytes make the unpickler raise nearly anything
        raise RestorerIDError(_reason(path, error)) from error


def _flatten(
    content: Mapping[Any, Any], prefix: str = "", depth: int = MAX_DEPTH
) -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            yield name, _plain(name, value.detach())
        elif isinstance(value, Mapping):
            if depth == 0:
                raise RestorerIDError(
                    f"nests dicts as deep as '{name}', as no file of weights does; {ADVICE}"
                )
            yield from _flatten(value, f"{name}.", depth - 1)


def _plain(name: str, tensor: Tensor) -> Tensor:
    """Refuse tensors that are not numbers in memory, or more than the file holds."""
    special = tensor.is_quantized or tensor.is_nested or tensor.layout != torch.strided
    if special or tensor.is_meta or tensor.untyped_storage().nbytes() < tensor.nbytes:
        raise RestorerIDError(f"holds no plain numbers for '{name}', as weights are; {ADVICE}")
    return tensor


def _reason(path: Path, error: Exception) -> str:
    refused = f"'{path.name}' was refused and nothing in it was run: it"
    if isinstance(error, pickle.UnpicklingError):
        named = re.search(r"GLOBAL (\S+)", str(error))
        name = named[1] if named else _foreign_name(path)
        if name:
            return f"{refused} asks to run '{name}', which no weights need; {ADVICE}"
        return f"{refused} is damaged, or a Python pickle other than weights; {ADVICE}"
    detail = str(error).strip().partition("\n")[0][:120] or type(error).__name__
    return (
        f"'{path.name}' is truncated or damaged ({path.stat().st_size / 2**20:.1f} MiB; {detail});"
        " compare its size with the original and download it again."
    )


def _foreign_name(path: Path) -> str | None:
    """The first unusual name that a pickle of protocol 4 or later asks for.

    torch stops at such a pickle's first instruction, before it sees the name.
    """
    strings: list[str] = []
    with suppress(Exception), path.open("rb") as raw:  # pickletools raises anything on bad bytes
        file = raw
        if zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(raw)
            file = archive.open(next(n for n in archive.namelist() if n.endswith("data.pkl")))
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "STACK_GLOBAL":
                name = ".".join(strings[-2:])
                if name not in _STAND_INS and not name.startswith(("torch.", "collections.")):
                    return name
            elif isinstance(argument, str):
                strings.append(argument)
    return None
