"""CLIP features and ID tokens of aligned faces, with ComfyUI's models."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import comfy.model_management
import comfy.model_patcher
import torch
from torch import Tensor

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.faces.find.search import Check

CLIP_WIDTH = 1280
T = TypeVar("T")


def require_vit_h(clip_vision: Any) -> None:
    """Refuses other encoders, DINOv3-H of the same width included."""
    config = getattr(clip_vision, "config", {})
    kind, width = config.get("model_type", "clip_vision_model"), config.get("hidden_size")
    if (kind, width) != ("clip_vision_model", CLIP_WIDTH):
        found = f"{kind}, {width} wide" if config else type(clip_vision).__name__
        raise RestorerIDError(
            f"clip_vision must be CLIP-ViT-H/14 ({CLIP_WIDTH} wide), but is {found}: "
            "load CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors."
        )


def clip_hidden(clip_vision: Any, crops: Tensor, progress: Any) -> Tensor:
    """Penultimate hidden states (n, 257, 1280) of (n, 224, 224, 3) BGR crops.

    CLIP expects RGB, but gets BGR: the adapter was trained on insightface's crops as they are.
    """
    hidden = [
        clip_vision.encode_image(crop[None])["penultimate_hidden_states"]
        for crop in steps(crops, progress)
    ]
    return torch.cat(hidden).float().cpu()


def unconditional_hidden(clip_vision: Any) -> Tensor:
    """Hidden states (1, 257, 1280) of all-zero normalised pixels, for the unconditional tokens.

    No image gives these pixels through `encode_image`, which rounds to 8 bits before normalising.
    """
    comfy.model_management.load_model_gpu(clip_vision.patcher)
    size = clip_vision.image_size
    zeros = torch.zeros(1, 3, size, size, device=clip_vision.load_device)
    return clip_vision.model(pixel_values=zeros, intermediate_output=-2)[1].float().cpu()


def projector(patcher: comfy.model_patcher.ModelPatcher) -> Callable[[Tensor, Tensor], Tensor]:
    """The face projector on its device; takes and gives float32 on the CPU."""
    comfy.model_management.load_model_gpu(patcher)

    def project(embedding: Tensor, hidden: Tensor) -> Tensor:
        device = patcher.load_device
        return patcher.model(embedding.to(device), hidden.to(device)).float().cpu()

    return project


def steps(items: Iterable[T], progress: Any) -> Iterator[T]:
    """The items, with a step of the progress bar each; stops when the user cancels."""
    for item in items:
        stop_if_cancelled()
        yield item
        progress.update(1)


def searches(items: Iterable[T], progress: Any) -> Iterator[tuple[T, Check]]:
    """Like `steps`; the callback of each item moves the bar by the part of a step that is done."""
    for item in items:
        stop_if_cancelled()
        start = progress.current

        def check(done: int, expected: int, start: float = start) -> None:
            stop_if_cancelled()
            # More may be expected than before, but a bar never goes back.
            progress.update_absolute(max(progress.current, start + done / expected))

        yield item, check
        progress.update_absolute(start + 1)


def stop_if_cancelled() -> None:
    """Raises ComfyUI's own exception when the user has cancelled the run."""
    comfy.model_management.throw_exception_if_processing_interrupted()
