"""Say what a file is and what is in it, without judging whether it can be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from torch import Tensor

from ..adapter.config import RESBLOCKS, UNET, ModelConfig
from ..errors import RestorerIDError
from .adapter_file import check, check_values
from .layout import GROUPS, group_of, identify, missing_groups
from .tensors import TensorFile, open_tensors


@dataclass(frozen=True)
class Group:
    """One group of tensors; `zero` is how many of them are all zero, `nbytes` their size."""

    name: str
    tensors: int
    zero: int
    nbytes: int
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class FIRBlock:
    """Which convolutions of one block's FIR-Adapter are all zero.

    `constant` says that γ and β do not depend on the photo or the face, so that the block is
    x + GN(x)·g + b with learned vectors g and b: the last convolutions are zero (their biases are
    left), or the first one and its bias are.
    """

    block: str
    mlp_shared_zero: bool
    mlp_gamma_zero: bool
    mlp_beta_zero: bool
    constant: bool


@dataclass(frozen=True)
class Inspection:
    """What a file is. `problem` is why it cannot be loaded as an adapter, None when it can."""

    path: str
    nbytes: int
    kind: str
    problem: str | None
    missing: tuple[str, ...]
    groups: tuple[Group, ...]
    fir: tuple[FIRBlock, ...]
    config: ModelConfig | None
    metadata: dict[str, str]


def inspect(path: str | PathLike[str]) -> Inspection:
    """Inspect any file of weights, also one that `load_adapter` refuses.

    Raises:
        RestorerIDError: the file cannot be opened at all.
    """
    path = Path(path)
    file = open_tensors(path)
    config, problem = _judge(path.name, file)
    return Inspection(
        path=str(path),
        nbytes=path.stat().st_size,
        kind=identify(file.shapes).label,
        problem=problem,
        missing=tuple(missing_groups(file.shapes)),
        groups=_groups(file.tensors),
        fir=_fir_blocks(file.tensors),
        config=config,
        metadata=file.metadata,
    )


def _judge(name: str, file: TensorFile) -> tuple[ModelConfig | None, str | None]:
    try:
        config = check(name, file)
        check_values(name, file, config)
        return config, None
    except RestorerIDError as error:
        return None, str(error)


def _groups(tensors: Mapping[str, Tensor]) -> tuple[Group, ...]:
    members: dict[str, list[Tensor]] = {name: [] for name in GROUPS}
    for key, tensor in tensors.items():
        members[group_of(key)].append(tensor)
    return tuple(
        Group(
            name=name,
            tensors=len(group),
            zero=sum(is_zero(tensor) for tensor in group),
            nbytes=sum(tensor.nbytes for tensor in group),
            dtypes=tuple(sorted({str(t.dtype).removeprefix("torch.") for t in group})),
        )
        for name, group in members.items()
        if group
    )


def _fir_blocks(tensors: Mapping[str, Tensor]) -> tuple[FIRBlock, ...]:
    blocks = []
    for block in RESBLOCKS:
        prefix = f"{UNET}{block.name}.IDBalance."
        names = ("mlp_shared.0.weight", "mlp_shared.0.bias", "mlp_gamma.weight", "mlp_beta.weight")
        if all(prefix + name in tensors for name in names):
            shared, bias, gamma, beta = (is_zero(tensors[prefix + name]) for name in names)
            constant = (gamma and beta) or (shared and bias)
            blocks.append(FIRBlock(block.name, shared, gamma, beta, constant))
    return tuple(blocks)


def is_zero(tensor: Tensor) -> bool:
    """Whether every element is zero; reads no more than the first few when they are not."""
    flat = tensor.reshape(-1)
    if tensor.element_size() == 1:  # `any` is not there for 8-bit floats
        flat = flat.float()
    return not flat[:64].any() and not flat.any()
