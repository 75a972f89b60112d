"""The wrappers of one sampling run; see the package's docstring for their order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....restorerid_core.adapter.config import RESBLOCKS
from ....restorerid_core.adapter.step import StepConditioning
from ....restorerid_core.conditions import FaceIdentity, LQCondition, common_count
from ....restorerid_core.errors import RestorerIDError
from .checks import check_denoised, check_hooks, check_identity, check_strengths, check_window
from .conds import IdentityCond, LatentCond, SharedCond, strength_cond
from .step import ADAPTER, FIR, IDENTITY, KEY, LQ, SCALE, STRUCTURE, TIMESTEP, not_sampled


@dataclass(frozen=True)
class RestorerIDPatch:
    """What one Apply adds to a MODEL.

    Attributes:
        lq: the degraded photo(s).
        face: the identities; None is the paper's base model.
        id_scale: λ, one or one per image.
        structure, fir: strengths of SPADE and of the FIR-Adapter.
        start, end: part of the sampling in which the adapter acts, 0-1.
        images: number of images that all these describe together.

    Raises:
        RestorerIDError: the batch sizes do not fit together, a strength is negative or not finite,
            or the adapter would never act.
    """

    lq: LQCondition
    face: FaceIdentity | None
    id_scale: tuple[float, ...]
    structure: float = 1.0
    fir: float = 1.0
    start: float = 0.0
    end: float = 1.0
    images: int = field(init=False)

    def __post_init__(self) -> None:
        check_window(self.start, self.end)
        check_strengths(structure_strength=self.structure, fir_strength=self.fir)
        for value in self.id_scale:
            check_strengths(id_scale=value)
        counts = {"the LQ images": len(self.lq.latent)}
        if self.face is not None:
            counts |= {"the faces": len(self.face.tokens), "the ID-scales": len(self.id_scale)}
        object.__setattr__(self, "images", common_count(**counts))

    def __deepcopy__(self, memo: dict[int, Any]) -> RestorerIDPatch:
        return self

    def outer_sample(self, executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """OUTER_SAMPLE: check the sizes and give every condition its tensors."""
        guider = executor.class_obj
        self._check_noise(noise)
        check_hooks(guider.model_options, self.face is not None)
        device = guider.model_patcher.load_device
        shared: dict[str, Any] = {
            LQ: LatentCond(self.lq.latent.to(device)),
            STRUCTURE: strength_cond(self.structure, device),
            FIR: strength_cond(self.fir, device),
        }
        identities: tuple[dict[str, Any], ...] = ({}, {})
        if self.face is not None:
            shared[SCALE] = SharedCond(torch.tensor(self.id_scale, device=device))
            identities = self._identities(self.face, running_adapter(guider.model_patcher))
        guider.conds = {
            # Any condition called negative (PerpNeg has two) is unconditional: no face.
            name: [{**c, "model_conds": {**c["model_conds"], **shared, **own}} for c in conditions]
            for name, conditions in guider.conds.items()
            for own in [identities["negative" in name]]
        }
        return executor(noise, *args, **kwargs)

    @staticmethod
    def _identities(face: FaceIdentity, adapter: ModelPatcher) -> tuple[dict[str, Any], ...]:
        """What the reference fixes, computed once for the run: of the person and of no face."""
        comfy.model_management.load_models_gpu([adapter])
        tokens = torch.cat([face.tokens, face.uncond_tokens]).to(adapter.load_device)
        rows = adapter.model.compose(tokens)
        check_identity(rows)
        person, nobody = rows[:-1], rows[-1:].expand(len(rows) - 1, -1)
        return {IDENTITY: IdentityCond(person)}, {IDENTITY: IdentityCond(nobody)}

    def _check_noise(self, noise: Tensor) -> None:
        batch, size, lq_size = len(noise), tuple(noise.shape[2:]), tuple(self.lq.latent.shape[2:])
        if size != lq_size:
            raise RestorerIDError(
                f"The latent is {size[-1] * 8}x{size[0] * 8} px but the LQ image was encoded at "
                f"{lq_size[1] * 8}x{lq_size[0] * 8} px; connect the LATENT output of "
                "RestorerID LQ Spatial Encoder to the sampler."
            )
        if batch % self.images:
            raise RestorerIDError(
                f"The latent has a batch of {batch} but there are {self.images} images to restore;"
                f" use a batch that is a multiple of {self.images}, such as the LATENT output of "
                "RestorerID LQ Spatial Encoder."
            )

    def apply_model(
        self,
        executor: Any,
        x: Tensor,
        t: Tensor,
        c_concat: Any = None,
        c_crossattn: Any = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """APPLY_MODEL: the networks of the running patcher (clones on other GPUs have others).

        Raises:
            RestorerIDError: the result is not finite.
        """
        base = executor.class_obj
        adapter = running_adapter(base.current_patcher).model
        kwargs[ADAPTER] = adapter if self._active(base.model_sampling, t) else None
        options = transformer_options or {}
        denoised = executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
        check_denoised(x, t, denoised, base)
        return denoised

    def _active(self, model_sampling: Any, sigma: Tensor) -> bool:
        if (self.start, self.end) == (0.0, 1.0):
            return True
        first, last = (model_sampling.percent_to_sigma(p) for p in (self.start, self.end))
        return last <= float(sigma[0]) <= first


def diffusion_model(
    executor: Any,
    x: Tensor,
    timesteps: Tensor,
    context: Any,
    y: Any,
    control: Any,
    transformer_options: dict[str, Any],
    **kwargs: Any,
) -> Tensor:
    """DIFFUSION_MODEL: the step's conditioning, and each ResBlock's place in the network.

    `torch.compile` traces it, and ComfyUI drops the guards of `transformer_options`: what differs
    from run to run is read from the arguments alone, the numbers among them as tensors.
    """
    if LQ not in kwargs or ADAPTER not in kwargs:
        raise not_sampled()
    latent, adapter = kwargs.pop(LQ), kwargs.pop(ADAPTER)
    identity, scale = (kwargs.pop(name, None) for name in (IDENTITY, SCALE))
    structure, fir = kwargs.pop(STRUCTURE), kwargs.pop(FIR)
    halves, identities = (1, 1) if identity is None else identity.shape[:2]
    images = max(len(latent), identities, 1 if scale is None else len(scale))
    if len(x) % (halves * images):
        raise RestorerIDError(
            f"The sampler calls the MODEL with {len(x)} rows, which are not whole sets of the "
            f"{images} images to restore (as with context windows); restore one photo at a time "
            "there."
        )
    step = None
    if adapter is not None:  # within start and end percent
        step = StepConditioning(
            adapter,
            latent,
            kwargs.get(TIMESTEP, timesteps)[:1],
            None if identity is None else identity.flatten(0, 1),
            identities,
            scale,
            structure,
            fir,
        )
    unet = executor.class_obj
    blocks = {unet.get_submodule(block.name): i for i, block in enumerate(RESBLOCKS)}
    options = {**transformer_options, KEY: (step, blocks)}
    return executor(x, timesteps, context, y, control, options, **kwargs)


def running_adapter(patcher: ModelPatcher) -> ModelPatcher:
    """The patcher of the adapter that belongs to a MODEL.

    Raises:
        RestorerIDError: the MODEL is not patched.
    """
    patchers = patcher.get_additional_models_with_key(KEY)
    if not patchers:
        raise RestorerIDError(
            "The guider calls a second MODEL that did not go through RestorerID Apply; connect "
            "the patched MODEL to all its inputs, or use a guider of one MODEL."
        )
    return patchers[0]
