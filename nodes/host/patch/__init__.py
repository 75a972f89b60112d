"""All that we know of ComfyUI's patching: how the adapter enters a MODEL, by stock hooks alone.

Each sampling run goes through four of them. OUTER_SAMPLE adds LQ latent, ID tokens and λ to every
condition; APPLY_MODEL finds our networks in the patcher that runs; DIFFUSION_MODEL computes the
step's conditioning; the ResBlock handler and the attn2 patches use it. What may differ from run to
run reaches DIFFUSION_MODEL as arguments, which `torch.compile` guards; the step's conditioning
travels in `transformer_options`, a fresh dict for every model call, so nothing is kept between
calls.
"""

from .attach import patch_model
from .checks import check_window
from .hooks import RestorerIDPatch
from .timestep import with_timestep

__all__ = ["RestorerIDPatch", "check_window", "patch_model", "with_timestep"]
