"""A base that learns with the adapter: a UNet with SD-1.5's blocks on a VAE, without text."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..adapter.config import UNET
from ..atomic_files import replacing
from ..engine.load_sd15 import SD15, from_original
from ..engine.original_names import OriginalNames
from ..engine.read_sizes import stated, unet_config, vae_config
from ..engine.sd15_shapes import VAE, unet_shapes
from ..errors import RestorerIDError
from ..weights.conversion import SD15_NAME
from ..weights.tensors import open_tensors
from .config import TrainingConfig
from .config_file import plain


class NewBase:
    """The base of a run in which the UNet learns.

    Args:
        config: `base` holds the VAE, and the UNet where it has learned before; otherwise the UNet
            is new, of the sizes of `unet`.

    Raises:
        RestorerIDError: there is no VAE in `base`.
    """

    def __init__(self, config: TrainingConfig):
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        self._config = config
        file = open_tensors(config.base)
        self._vae = {key: tensor for key, tensor in file.tensors.items() if key.startswith(VAE)}
        self._unet = {key: tensor for key, tensor in file.tensors.items() if key.startswith(UNET)}
        if VAE + "post_quant_conv.weight" not in self._vae:
            raise RestorerIDError(
                f"`base`, '{config.base.name}', holds no autoencoder; expected a checkpoint of "
                "SD-1.5, or the file that `train autoencoder` wrote."
            )
        sizes = config.unet
        self.metadata = (
            {key: value for key, value in file.metadata.items() if key.startswith("unet_")}
            if self._unet
            else stated(sizes.groups, sizes.head_channels)
        )
        shapes = {key: tensor.shape for key, tensor in self._unet.items()} or unet_shapes(
            sizes.width, sizes.multipliers, vae_config(self._vae)["latent_channels"], sizes.context
        )
        self._names = OriginalNames(
            UNet2DConditionModel, shapes, lambda tensors: unet_config(tensors, self.metadata)
        )

    @property
    def text(self) -> Tensor:
        """(1, 1, context), the one token of zeros."""
        return torch.zeros(1, 1, self._names.config["cross_attention_dim"])

    def load(self, dtype: torch.dtype, device: torch.device) -> SD15:
        """UNet in float32 and VAE in `dtype`."""
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        if self._unet:
            tensors = {key: tensor.float() for key, tensor in self._unet.items()}
            unet = from_original(UNet2DConditionModel, tensors, self._names.config)
        else:
            unet = self._names.new(self._config.seed)
        tensors = {key: tensor.to(dtype) for key, tensor in self._vae.items()}
        autoencoder = from_original(AutoencoderKL, tensors, vae_config(tensors))
        return SD15(unet.to(device), autoencoder.to(device))

    def write(self, unet: Any) -> None:
        """OUT/restorerid_sd15.safetensors, of UNet and VAE."""
        training = json.dumps(plain(self._config))
        tensors: dict[str, Tensor] = {**self._names.tensors(unet), **self._vae}
        with replacing(self._config.output / SD15_NAME) as temporary:
            save_file(
                {key: tensor.contiguous() for key, tensor in tensors.items()},
                temporary,
                {**self.metadata, "training": training},
            )
