"""What goes into CLIP and the projector, against transformers on the same weights."""

from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import relative_error
from models import CLIP_CONFIG
from torch import Tensor


@pytest.fixture(scope="module")
def transformers_clip(clip_vision: Any) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = {k: v for k, v in CLIP_CONFIG.items() if k != "model_type"}
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
    missing, _ = model.load_state_dict(clip_vision.get_sd(), strict=False)
    assert not [key for key in missing if "position_ids" not in key]
    return model.eval()


def test_clip_gets_the_bgr_crop_exactly(
    embed: Any, extension: ModuleType, clip_vision: Any, transformers_clip: Any, two_people: Tensor
):
    """ComfyUI's preprocessing of a 224-pixel crop equals transformers', in BGR order."""
    import comfy.utils
    from transformers import CLIPImageProcessor

    _, aligned = embed(two_people, combine="one per image")
    rgb = (aligned * 255).round().byte().numpy()
    prepare = CLIPImageProcessor(do_resize=False, do_center_crop=False)
    hidden = {}
    for order, pixels in (("bgr", rgb[..., ::-1].copy()), ("rgb", rgb)):
        values = prepare(list(pixels), return_tensors="pt", input_data_format="channels_last")
        out = transformers_clip(**values, output_hidden_states=True)
        hidden[order] = out.hidden_states[-2].detach()
    with torch.no_grad():
        features = import_module(f"{extension.__name__}.nodes.host.face_features")
        ours = features.clip_hidden(clip_vision, aligned.flip(-1), comfy.utils.ProgressBar(2))
    assert ours.shape == (2, 257, 1280)
    assert relative_error(ours, hidden["bgr"]) < 1e-5
    assert relative_error(ours, hidden["rgb"]) > 1e-2


def test_tokens_are_the_projection_of_embedding_and_bgr_features(
    embed: Any, restorer: Any, transformers_clip: Any, two_people: Tensor
):
    identity, aligned = embed(two_people, combine="one per image")
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = ((aligned.flip(-1) - mean) / std).movedim(-1, 1)
    with torch.no_grad():
        hidden = transformers_clip(pixels, output_hidden_states=True).hidden_states[-2]
        tokens = restorer.face_projector.model(identity.embedding, hidden)
    assert identity.tokens.shape == (2, 4, 768)
    assert relative_error(identity.tokens, tokens) < 1e-5


def test_unconditional_tokens_come_from_zero_pixels(
    embed: Any, clip_vision: Any, restorer: Any, transformers_clip: Any, two_people: Tensor
):
    identity, _ = embed(two_people[:1])
    with torch.no_grad():
        out = transformers_clip(torch.zeros(1, 3, 224, 224), output_hidden_states=True)
        hidden = out.hidden_states[-2]
        black = clip_vision.encode_image(torch.zeros(1, 224, 224, 3))["penultimate_hidden_states"]
        tokens = restorer.face_projector.model(torch.zeros(1, 512), hidden)
    assert relative_error(identity.uncond_tokens, tokens) < 1e-5
    assert relative_error(black, hidden) > 1e-2
