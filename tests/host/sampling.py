"""Runs of a real ComfyUI sampler on the tiny or full MODEL."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from helpers import Golden, relative_error
from torch import Tensor

SAME = 2e-5
"""Relative difference of two runs that only order their sums differently."""
LATENT_SCALE = 0.18215


def close(a: Tensor, b: Tensor, bound: float = SAME) -> bool:
    return relative_error(a, b) <= bound


def differs(a: Tensor, b: Tensor) -> bool:
    return relative_error(a, b) > 1e-2


def conditions(context: Tensor, **entries: Any) -> list[list[Any]]:
    """A CONDITIONING of (1, 77, 768)."""
    return [[context, entries]]


def schedule(extension: ModuleType, steps: int) -> Any:
    """(SAMPLER, SIGMAS) of the node."""
    return extension.nodes.portrait.schedule.RestorerIDSchedule.execute(steps).args


class Scene:
    """One restoration on the tiny MODEL: seeded noise, LQ latent, texts, a face for each image."""

    def __init__(self, extension, model, restorer, name="scene", images=1, height=16, width=16):
        self.extension, self.model, self.restorer = extension, model, restorer
        shape = (images, 4, height, width)
        self.noise = Golden.input(f"{name}.noise", *shape)
        self.lq = self.lq_of(Golden.input(f"{name}.lq", *shape))
        text = Golden.input(f"{name}.text", 2, 77, 768)
        self.texts = conditions(text[:1]), conditions(text[1:])
        tokens = Golden.input(f"{name}.tokens", images + 1, 4, 768)
        self.face = self.face_of(tokens[1:], tokens[:1])

    def another(self, name: str, **shape: int) -> Scene:
        """Other inputs for the same networks."""
        return Scene(self.extension, self.model, self.restorer, name, **shape)

    def lq_of(self, latent: Tensor) -> Any:
        return self.extension.restorerid_core.conditions.LQCondition(latent)

    def face_of(self, tokens: Tensor, uncond: Tensor) -> Any:
        embedding = torch.zeros(len(tokens), 512)
        return self.extension.restorerid_core.conditions.FaceIdentity(tokens, uncond, embedding)

    def patch(self, model: Any = None, restorer: Any = None, **changes: Any) -> Any:
        """The MODEL through Apply; by default with face, λ = 0.8."""
        settings = {"lq": self.lq, "face": self.face, "id_scale": (0.8,), **changes}
        module = self.extension.nodes.host.patch
        patch = module.RestorerIDPatch(**settings)
        return module.patch_model(model or self.model, restorer or self.restorer, patch)

    def sample(self, model=None, noise=None, cfg=3.0, steps=1, positive=None) -> Tensor:
        """A KSampler run without random steps, by default of the patched MODEL."""
        import comfy.sample

        noise = self.noise if noise is None else noise
        texts = positive or self.texts[0], self.texts[1]
        return comfy.sample.sample(
            model or self.patch(), noise, steps, cfg, "euler", "normal", *texts,
            torch.zeros_like(noise), seed=1, disable_pbar=True,
        )  # fmt: skip

    def released(self, model, sampler, sigmas, noise=None, **masks) -> Tensor:
        """A SamplerCustom run; every step of the released sampler gets the same noise."""
        if "schedule" in sampler.extra_options:
            step = Golden.input("step", *self.noise.shape)
            sampler.extra_options["noise_sampler"] = lambda *_: step
        noise = self.noise if noise is None else noise
        return sample_with(model, noise, sampler, sigmas, *self.texts, **masks)


def sample_with(
    model, noise, sampler, sigmas, positive, negative, cfg=2.0, latent=None, mask=None
) -> Tensor:
    """SamplerCustom's way through the host; returns the latent as SD-1.5 decodes it."""
    import comfy.samplers

    return comfy.samplers.sample(
        model, noise, positive, negative, cfg, model.load_device, sampler, sigmas,
        latent_image=torch.zeros_like(noise) if latent is None else latent, denoise_mask=mask,
        disable_pbar=True, seed=0,
    )  # fmt: skip


class GoldenScene:
    """The inputs of one golden output, and the patched MODEL that should give it."""

    def __init__(self, extension, golden, tag, height, width, scale=1.0, tokens=81):
        def given(name: str, *shape: int) -> Tensor:
            return golden.input(f"{tag}.{name}", *shape)

        self.golden, self.tag, self.shape = golden, tag, torch.Size((1, 4, height, width))
        self.core, self.module = extension.restorerid_core.conditions, extension.nodes.host.patch
        contexts = [given(f"{half}_context", 1, tokens, 768) for half in ("cond", "uncond")]
        self.texts = [conditions(context[:, :77]) for context in contexts]
        ids = [context[:, 77:] for context in contexts]  # the ID tokens follow 77 text tokens
        face = self.core.FaceIdentity(*ids, torch.zeros(1, 512)) if tokens > 77 else None
        lq = self.core.LQCondition(given("lq_latent", *self.shape))
        self.inputs = self.module.RestorerIDPatch(lq, face, (scale,))

    def patch(self, model: Any, restorer: Any) -> Any:
        return self.module.patch_model(model, restorer, self.inputs)

    def sample(self, model: Any, sampler: Any, sigmas: Tensor, cfg: float) -> Tensor:
        """From the golden x_T with the golden step noise, in the authors' units."""
        count = iter(range(1000))
        sampler.extra_options["noise_sampler"] = lambda *_: self.golden.input(
            f"{self.tag}.noise.{next(count)}", *self.shape
        )
        noise = self.golden.input(f"{self.tag}.x_T", *self.shape)
        return sample_with(model, noise, sampler, sigmas, *self.texts, cfg=cfg) * LATENT_SCALE


def network_call(model: Any, x: Tensor, timestep: int, positive: Any, negative: Any) -> Tensor:
    """ε of one guided call through guider and patcher: rows uncond, cond, as in the goldens."""
    import comfy.samplers

    found: dict[str, Tensor] = {}

    def keep(args: dict[str, Any]) -> Tensor:
        for name in ("uncond", "cond"):
            found[name] = (args["input"] - args[f"{name}_denoised"]) / args["sigma"]
        return args["denoised"]

    def one_call(k: Any, start: Tensor, sigmas: Tensor, extra_args: Any = None, **_: Any) -> Tensor:
        options = {**extra_args["model_options"], "sampler_post_cfg_function": [keep]}
        model_sampling = k.inner_model.inner_model.model_sampling
        sigma = model_sampling.sigma(torch.tensor(float(timestep)))
        noisy = x * (1 + sigma**2).sqrt()
        k(noisy, sigma.expand(len(x)), **{**extra_args, "model_options": options})
        return start

    sampler = comfy.samplers.KSAMPLER(one_call)
    sample_with(model, x, sampler, torch.tensor([1.0, 0.0]), positive, negative)
    return torch.cat([found["uncond"], found["cond"]])
