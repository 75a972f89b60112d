"""The layers that a network is built from, so that a host can pass its own."""

from typing import Any, Protocol


class Operations(Protocol):
    """A namespace of layer classes: `torch.nn`, or a host's such as ComfyUI's `manual_cast`."""

    @property
    def Linear(self) -> Any: ...  # noqa: N802
    @property
    def Conv1d(self) -> Any: ...  # noqa: N802
    @property
    def Conv2d(self) -> Any: ...  # noqa: N802
    @property
    def GroupNorm(self) -> Any: ...  # noqa: N802
    @property
    def LayerNorm(self) -> Any: ...  # noqa: N802
