"""Runs of a real ComfyUI sampler on the tiny or full MODEL."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from helpers import Golden, relative_error
from torch import Tensor

SAME = 2e-5
"""Relative difference of two runs that only order their sums differently."""


def close(a: Tensor, b: Tensor, bound: float = SAME) -> bool:
    return relative_error(a, b) <= bound


def differs(a: Tensor, b: Tensor) -> bool:
    return relative_error(a, b) > 1e-2


def conditions(context: Tensor, **entries: Any) -> list[list[Any]]:
    """A CONDITIONING of (1, 77, 768)."""
    return [[context, entries]]


def face_of(extension: ModuleType, cond: Tensor, uncond: Tensor) -> Any:
    """A FaceIdentity from golden contexts: the ID tokens follow 77 text tokens."""
    return extension.restorerid_core.conditions.FaceIdentity(
        cond[:, 77:], uncond[:, 77:], torch.zeros(len(cond), 512)
    )


class Scene:
    """Seeded inputs of one restoration: noise, LQ latent, texts and a face for each image."""

    def __init__(
        self,
        extension: ModuleType,
        images: int = 1,
        height: int = 16,
        width: int = 16,
        name: str = "scene",
    ):
        self.extension = extension
        shape = (images, 4, height, width)
        self.noise = Golden.input(f"{name}.noise", *shape)
        self.lq = extension.restorerid_core.conditions.LQCondition(
            Golden.input(f"{name}.lq", *shape)
        )
        self.text = Golden.input(f"{name}.text", 2, 77, 768)
        self.tokens = Golden.input(f"{name}.tokens", images + 1, 4, 768)

    @property
    def face(self) -> Any:
        return self.extension.restorerid_core.conditions.FaceIdentity(
            self.tokens[1:], self.tokens[:1], torch.zeros(len(self.tokens) - 1, 512)
        )

    def patch(self, model: Any, restorer: Any, **changes: Any) -> Any:
        """`model` through Apply; by default with face, λ = 0.8."""
        settings = {"lq": self.lq, "face": self.face, "scale": (0.8,), **changes}
        module = self.extension.nodes.host.patch
        return module.patch_model(model, restorer, module.RestorerIDPatch(**settings))

    def sample(
        self,
        model: Any,
        noise: Tensor | None = None,
        cfg: float = 3.0,
        steps: int = 2,
        positive: Any = None,
        negative: Any = None,
    ) -> Tensor:
        """A KSampler run without random steps."""
        import comfy.sample

        noise = self.noise if noise is None else noise
        return comfy.sample.sample(
            model,
            noise,
            steps,
            cfg,
            "euler",
            "normal",
            positive or conditions(self.text[:1]),
            negative or conditions(self.text[1:]),
            torch.zeros_like(noise),
            seed=1,
            disable_pbar=True,
        )


def network_call(model: Any, x: Tensor, timestep: int, positive: Any, negative: Any) -> Tensor:
    """ε of one guided call through guider and patcher: rows uncond, cond, as in the goldens."""
    import comfy.samplers

    found: dict[str, Tensor] = {}

    def keep(args: dict[str, Any]) -> Tensor:
        for name in ("uncond", "cond"):
            found[name] = (args["input"] - args[f"{name}_denoised"]) / args["sigma"]
        return args["denoised"]

    def one_call(
        model_k: Any,
        start: Tensor,
        sigmas: Tensor,
        extra_args: Any = None,
        callback: Any = None,
        disable: Any = None,
    ) -> Tensor:
        options = {**extra_args["model_options"], "sampler_post_cfg_function": [keep]}
        model_sampling = model_k.inner_model.inner_model.model_sampling
        sigma = model_sampling.sigma(torch.tensor(float(timestep)))
        model_k(
            x * (1 + sigma**2).sqrt(),
            sigma.expand(len(x)),
            **{**extra_args, "model_options": options},
        )
        return start

    sample_with(
        model, x, comfy.samplers.KSAMPLER(one_call), torch.tensor([1.0, 0.0]), positive, negative
    )
    return torch.cat([found["uncond"], found["cond"]])


def sample_with(
    model: Any,
    noise: Tensor,
    sampler: Any,
    sigmas: Tensor,
    positive: Any,
    negative: Any,
    cfg: float = 2.0,
) -> Tensor:
    """SamplerCustom's way through the host; returns the latent as SD-1.5 decodes it."""
    import comfy.samplers

    return comfy.samplers.sample(
        model,
        noise,
        positive,
        negative,
        cfg,
        model.load_device,
        sampler,
        sigmas,
        latent_image=torch.zeros_like(noise),
        disable_pbar=True,
        seed=0,
    )


def golden_noise(golden: Golden, tag: str, shape: torch.Size) -> Callable[..., Tensor]:
    """A noise sampler that yields the golden run's step noise."""
    count = iter(range(1000))
    return lambda *_: golden.input(f"{tag}.noise.{next(count)}", *shape)
