"""Checks and preparation of images, shared by every node and the command line."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RestorerIDError

log = logging.getLogger(__name__)

VAE_FACTOR = 8
"""An SD VAE makes one latent pixel of 8x8 px, and crops what is left over."""
MIN_SIDE, MAX_SIDE = 16, 8192


def check_image(image: Tensor, name: str, min_side: int = MIN_SIDE) -> Tensor:
    """Refuses what is not a usable image; `name` is the input that the message speaks of.

    Args:
        image: (B, H, W, C), 1, 3 or 4 channels, floating point, nominally 0..1. A little outside
            of 0..1 is accepted (resamplers overshoot). Integers are refused rather than guessed at.
        min_side: smallest width and height, px.
    Returns:
        The same values as float32.
    Raises:
        RestorerIDError: any other shape, type or range, or a value that is not finite.
    """
    if not isinstance(image, Tensor) or image.ndim != 4:
        found = f"shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise RestorerIDError(
            f"`{name}` is not an image batch ({found}); expected (batch, height, width, channels), "
            "as a Load Image node gives."
        )
    batch, height, width, channels = image.shape
    if batch == 0:
        raise RestorerIDError(
            f"`{name}` is an empty batch; expected at least one image: check the node before it."
        )
    if min(height, width) < min_side:
        raise RestorerIDError(
            f"`{name}` is {width}x{height} px; expected at least {min_side} px on each side: "
            "connect a larger image."
        )
    if channels not in (1, 3, 4):
        raise RestorerIDError(
            f"`{name}` has {channels} channels; expected 1 (grey), 3 (RGB) or 4 (RGBA): "
            "convert it to RGB."
        )
    return _check_values(image, name)


def _check_values(image: Tensor, name: str) -> Tensor:
    if not image.is_floating_point():
        raise RestorerIDError(
            f"`{name}` holds whole numbers ({str(image.dtype).removeprefix('torch.')}); expected "
            "floating point from 0 to 1: divide it by its largest possible value (255 or 65535)."
        )
    image = image.float()
    low, high = (float(value) for value in image.aminmax())
    if not torch.tensor([low, high]).isfinite().all():
        bad = int((~image.isfinite()).flatten(1).any(dim=1).sum())
        raise RestorerIDError(
            f"`{name}` has NaN or infinite values in {bad} of {len(image)} images; expected "
            "colours from 0 to 1: if it comes from VAE Decode, start ComfyUI with --fp32-vae, else "
            "check the node before it."
        )
    if high > 2 or low < -0.5:
        raise RestorerIDError(
            f"`{name}` has values from {low:.4g} to {high:.4g}; expected 0 to 1: scale it first "
            "(8-bit images are divided by 255, 16-bit ones by 65535, -1..1 becomes (x + 1) / 2)."
        )
    return image


def to_rgb(image: Tensor) -> Tensor:
    """(B, H, W, 1, 3 or 4) to (B, H, W, 3) float32.

    Grey is repeated; what is transparent lies on white, as `read_photo` has it, with a warning.
    """
    rgb = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(*image.shape[:-1], 3)
    if image.shape[-1] < 4 or bool((image[..., 3] >= 1).all()):
        return rgb.float()
    log.warning("an image is transparent in parts; it is taken as it looks on white")
    alpha = image[..., 3:].float().clamp(0, 1)
    return rgb.float() * alpha + (1 - alpha)


@dataclass(frozen=True)
class PreparedImage:
    """A batch of images at working size, without and with the VAE's padding."""

    image: Tensor
    """(B, 3, h, w) float32 in 0..1."""
    padded: Tensor
    """(B, 3, H, W): `image` with its right and bottom edge repeated up to multiples of 8 px."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of `image`, for `unpad`."""
        return self.image.shape[-2], self.image.shape[-1]


def prepare(image: Tensor, size: int) -> PreparedImage:
    """Resizes so that the shorter side is `size` px, then pads to what a VAE takes whole.

    Args:
        image: (B, 3, H, W) in 0..1.
        size: shorter side of the result, px; 0 keeps the size. The aspect ratio is kept.
    Raises:
        RestorerIDError: as `working_size`.
    """
    resized = resize(image, working_size(image.shape[-2], image.shape[-1], size))
    bottom, right = (-side % VAE_FACTOR for side in resized.shape[-2:])
    return PreparedImage(resized, F.pad(resized, (0, right, 0, bottom), mode="replicate"))


def unpad(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) without the padding of `prepare`; of any other size it is left as it is.

    Args:
        size: of the `PreparedImage` that the image was made of. It has to be known: a picture of
            512 px whose original has 508 may as well be one that was enlarged.
    """
    padded = tuple(side + -side % VAE_FACTOR for side in size)
    return image[..., : size[0], : size[1]] if tuple(image.shape[-2:]) == padded else image


def working_size(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) in px after a resize that makes the shorter side `size` (0 keeps both).

    Raises:
        RestorerIDError: `size` below 16 px, or the longer side would exceed 8192 px.
    """
    if size != 0 and size < MIN_SIDE:
        raise RestorerIDError(
            f"`size` is {size} px; expected 0 (keep the size) or at least {MIN_SIDE} px: "
            "512 suits SD-1.5."
        )
    zoom = size / min(height, width) if size else 1.0
    target = (round(height * zoom), round(width * zoom))
    if max(target) > MAX_SIDE:
        raise RestorerIDError(
            f"the image would be {target[1]}x{target[0]} px at `size` {size}; expected at most "
            f"{MAX_SIDE} px on the longer side: crop it around the face or choose a smaller `size`."
        )
    return target


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) to `size` (height, width): antialiased bicubic, float32, clamped to 0..1."""
    image = image.float()
    if tuple(image.shape[-2:]) != size:
        image = F.interpolate(image, size, mode="bicubic", antialias=True, align_corners=False)
    return image.clamp(0, 1)


def at_most(image: Tensor, side: int) -> Tensor:
    """(B, C, H, W), made smaller where its longer side exceeds `side` px."""
    longer = max(image.shape[-2:])
    if longer <= side:
        return image
    return resize(
        image,
        (round(image.shape[-2] * side / longer) or 1, round(image.shape[-1] * side / longer) or 1),
    )


def bgr_from_image(image: Tensor) -> np.ndarray:
    """An (H, W, 3) uint8 BGR array from a (3, H, W) RGB image in [0, 1]; values are clamped."""
    rgb = image.detach().float().cpu().clamp(0, 1).mul(255).round().byte()
    return np.ascontiguousarray(rgb.flip(0).permute(1, 2, 0).numpy())
