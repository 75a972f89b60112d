"""Pickled checkpoints, read without letting the file run anything.

The unpickler of `torch.load(weights_only=True)` builds tensors and plain containers only. A
checkpoint that PyTorch Lightning wrote names a few more classes (its callbacks, its
hyper-parameters); each of them is replaced by an empty stand-in below, so nothing that a file names
is imported or called.
"""

import logging
import pickle
import pickletools
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import IO, Any

import torch
from torch import Tensor

from ..errors import RestorerIDError, out_of_memory

log = logging.getLogger(__name__)

MAX_DEPTH = 2
MAX_PICKLE = 4 * 2**20
"""Bytes of the pickle without its tensors; that of the authors' file takes less than one MiB."""
NAMES_WITHIN = 2**19
"""Bytes in which the name is searched that a refused pickle asks for."""
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


@lru_cache(maxsize=1)
def _unpickler() -> ModuleType:
    """The unpickler of `torch.load(weights_only=True)`, which lets in the stand-ins besides.

    A copy of its module, for the list of names that it lets in is a global of the module: by
    `torch.serialization.add_safe_globals` loads in other threads would get our stand-ins, and ours
    what a host has allowed.
    """
    spec = find_spec("torch._weights_only_unpickler")
    assert spec and spec.loader
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    module._add_safe_globals(
        [
            type(name.rpartition(".")[2], (base,), {"__module__": name.rpartition(".")[0]})
            for name, base in _STAND_INS.items()
        ]
    )
    module.warnings = SimpleNamespace(warn=_say_nothing)  # about protocols; refused by `_reason`
    unlimited = module.Unpickler

    class Limited(unlimited):
        def __init__(self, file: IO[bytes], **options: Any):
            super().__init__(_Metered(file), **options)

    module.Unpickler = Limited
    return module


def _say_nothing(*args: Any, **kwargs: Any) -> None:
    pass


class _Metered:
    """A file of which no more than MAX_PICKLE bytes are read."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._left = MAX_PICKLE

    def read(self, size: int) -> bytes:
        return self._counted(self._file.read(size))

    def readline(self) -> bytes:
        return self._counted(self._file.readline())

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise _too_long()
        return data


def _too_long() -> RestorerIDError:
    return RestorerIDError(
        f"holds more than {MAX_PICKLE / 2**20:.0f} MiB of pickle besides its tensors, as no file of"
        f" weights does; {ADVICE}"
    )


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
        _check_container(path)
        content = torch.load(  # weights_only=True would not take a copy of its own unpickler
            path, pickle_module=_unpickler(), weights_only=False, mmap=mapped, map_location="cpu"
        )
        if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
            content = content["state_dict"]
        return dict(_flatten(content)) if isinstance(content, Mapping) else {}
    except RestorerIDError as error:
        raise RestorerIDError(f"'{path.name}' {error}") from error
    except Exception as error:  # damaged bytes make the unpickler raise nearly anything
        raise RestorerIDError(_reason(path, error)) from error


def _check_container(path: Path) -> None:
    """Refuses what `torch.load` reads in other ways than by its unpickler, or inflates."""
    if not zipfile.is_zipfile(path):
        if tarfile.is_tarfile(path):
            raise RestorerIDError(f"is a tar archive, as torch wrote before 0.2; {ADVICE}")
        return
    if "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
        raise RestorerIDError(f"is a TorchScript program, not weights alone; {ADVICE}")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise RestorerIDError(f"is compressed, which torch's own files never are; {ADVICE}")
    if any(e.filename.endswith("data.pkl") and e.file_size > MAX_PICKLE for e in entries):
        raise _too_long()


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
    if out_of_memory(error):
        return f"'{path.name}' takes more memory than there is; close other programs."
    detail = str(error).strip().partition("\n")[0][:120] or type(error).__name__
    return (
        f"'{path.name}' is truncated or damaged ({path.stat().st_size / 2**20:.1f} MiB; {detail});"
        " compare its size with the original and download it again."
    )


def _foreign_name(path: Path) -> str | None:
    """The first unusual name that the beginning of a pickle of protocol 4 or later asks for.

    torch stops at such a pickle's first instruction, before it sees the name.
    """
    strings: list[str] = []
    with suppress(Exception), path.open("rb") as raw:  # pickletools raises anything on bad bytes
        file = raw
        if zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(raw)
            file = archive.open(next(n for n in archive.namelist() if n.endswith("data.pkl")))
        for operation, argument, _ in pickletools.genops(file.read(NAMES_WITHIN)):
            if operation.name == "STACK_GLOBAL":
                name = ".".join(strings[-2:])
                if name not in _STAND_INS and not name.startswith(("torch.", "collections.")):
                    return name
            elif isinstance(argument, str):
                strings.append(argument)
    return None
