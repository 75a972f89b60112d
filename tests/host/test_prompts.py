"""The engine and ComfyUI encode a prompt of any length alike, on the same small text encoder."""

from importlib.metadata import version

import pytest
import torch
from helpers import seeded_state_dict
from safetensors.torch import save_file

from restorerid_core.engine.clip import END, TEXT_PREFIX, encode_prompts, tokenizer
from restorerid_core.engine.read_sizes import text_config
from restorerid_core.engine.sd15_shapes import clip_shapes

# Older ones rewrite quotation marks, ligatures and entities first, and so does ComfyUI with them.
OTHERWISE = pytest.mark.skipif(
    int(version("transformers").split(".")[0]) < 5, reason="transformers 4 rewrites such a prompt"
)
EMBEDDINGS = {"token_embedding.weight": (49408, 128), "position_embedding.weight": (77, 128)}
LONG = "a very old photograph of a smiling woman, best quality, " * 20


@pytest.fixture(scope="module")
def weights():
    """CLIP's text encoder, 128 wide."""
    return seeded_state_dict(clip_shapes("", 128, 2, EMBEDDINGS, ["final_layer_norm"]))


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("", 1),
        ("best quality, high quality", 1),
        ("face " * 75, 1),
        ("face " * 76, 2),
        (LONG, 4),
        pytest.param(
            "\u5199\u771f &amp; O\u2019Neil\u2019s e\u0301mile \ufb01ne", 1, marks=OTHERWISE
        ),
    ],
)
def test_a_prompt_of_any_length(comfy_root, tmp_path, weights, parity, prompt, parts):
    from comfy import sd1_clip

    assert -(-len(tokenizer().encode(prompt)) // 75) == (parts if prompt else 0)
    path = tmp_path / "sd15.safetensors"
    save_file({TEXT_PREFIX + key: tensor for key, tensor in weights.items()}, path)
    (engine,) = encode_prompts(path, [prompt], torch.float32, torch.device("cpu"))

    config = {**text_config(weights), "eos_token_id": END}
    encoder = sd1_clip.SDClipModel(device="cpu", dtype=torch.float32, textmodel_json_config=config)
    missing, _ = encoder.load_sd({f"text_model.{key}": t for key, t in weights.items()})
    assert not [key for key in missing if "text_projection" not in key]
    tokens = sd1_clip.SDTokenizer().tokenize_with_weights(prompt)
    host, _ = encoder.encode_token_weights(tokens)
    assert engine.shape == host.shape == (1, 77 * parts, 128)
    parity(1e-5, (engine, host))
