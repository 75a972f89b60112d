"""What goes into CLIP and the projector, against transformers on the same weights."""

import pytest
import torch
from disc_faces import portrait
from helpers import relative_error
from models import CLIP_CONFIG

BOTH = torch.cat([portrait("Cid"), portrait("Dan")])  # good references, so without a frame


@pytest.fixture
def embedded(embed, clip_vision, discs):
    return embed(BOTH, clip_vision=clip_vision, combine="one per image")


@pytest.fixture(scope="module")
def hidden_of(clip_vision):
    """transformers' penultimate hidden states of normalised pixels."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = {k: v for k, v in CLIP_CONFIG.items() if k != "model_type"}
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**config)).eval()
    missing, _ = model.load_state_dict(clip_vision.get_sd(), strict=False)
    assert not [key for key in missing if "position_ids" not in key]
    return lambda pixels: model(pixels, output_hidden_states=True).hidden_states[-2]


def test_clip_gets_the_bgr_crop_exactly(ours, embedded, clip_vision, hidden_of):
    """ComfyUI's preprocessing of a 224-pixel crop equals transformers', in BGR order."""
    import comfy.utils
    from transformers import CLIPImageProcessor

    aligned = embedded[1]
    rgb = (aligned * 255).round().byte().numpy()
    prepare = CLIPImageProcessor(do_resize=False, do_center_crop=False)
    bgr_first = []
    for pixels in (rgb[..., ::-1].copy(), rgb):
        values = prepare(list(pixels), return_tensors="pt", input_data_format="channels_last")
        bgr_first.append(hidden_of(values["pixel_values"]))
    clip_hidden = ours("nodes.host.face_features").clip_hidden
    hidden = clip_hidden(clip_vision, aligned.flip(-1), comfy.utils.ProgressBar(2))
    assert hidden.shape == (2, 257, 1280)
    assert relative_error(hidden, bgr_first[0]) < 1e-5
    assert relative_error(hidden, bgr_first[1]) > 1e-2


def test_tokens_are_the_projection_of_embedding_and_bgr_features(
    embedded, restorer, clip_vision, hidden_of
):
    """The unconditional ones are of zero pixels, which no picture has."""
    identity, aligned = embedded
    project = restorer.face_projector.model
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
    hidden = hidden_of(((aligned.flip(-1) - mean) / std).movedim(-1, 1))
    assert identity.tokens.shape == (2, 4, 768)
    assert relative_error(identity.tokens, project(identity.embedding, hidden)) < 1e-5
    nobody, zero = torch.zeros(1, 512), torch.zeros(1, 3, 224, 224)
    black = clip_vision.encode_image(zero.movedim(1, -1))["penultimate_hidden_states"]
    assert relative_error(identity.uncond_tokens, project(nobody, hidden_of(zero))) < 1e-5
    assert relative_error(black, hidden_of(zero)) > 1e-2
