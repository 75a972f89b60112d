"""Strengths, condition halves, batches and sizes of the patched MODEL, on a tiny SD-1.5."""

import copy

import pytest
import torch
from helpers import Golden
from sampling import close, conditions, differs


def test_apply_then_discard_leaves_the_model_bit_identical(scene):
    model = scene.model
    before = scene.sample(model)
    weights = {k: v.clone() for k, v in model.model.state_dict().items()}
    options = copy.deepcopy(model.model_options)
    assert differs(scene.sample(), before)
    assert torch.equal(scene.sample(model), before)
    assert all(torch.equal(v, weights[k]) for k, v in model.model.state_dict().items())
    assert model.model_options == options


def test_strengths_at_zero_switch_off_bit_for_bit(scene):
    """Without structure the bare model is left, without identity the base model."""
    none = {"fir": 0.0, "id_scale": (0.0,)}
    bare, base = scene.sample(scene.model), scene.sample(scene.patch(face=None))
    for face in (scene.face, None):
        off = scene.patch(**none, structure=0.0, face=face)
        assert torch.equal(scene.sample(off), bare), face
    assert torch.equal(scene.sample(scene.patch(**none)), base)


@pytest.mark.parametrize(
    "one",
    [{"structure": 0.0}, {"fir": 0.0}, {"id_scale": (0.0,)}, {"structure": 0.5}, {"fir": 0.5}],
)
def test_each_strength_acts_alone(scene, one):
    assert differs(scene.sample(scene.patch(**one)), scene.sample())


def test_separate_halves_equal_batched_ones(scene, monkeypatch):
    together = scene.sample()
    monkeypatch.setattr("comfy.samplers.can_concat_cond", lambda a, b: a is b)
    assert close(scene.sample(), together)


def test_cfg_1_calls_the_positive_half_alone(scene):
    patched = scene.patch()
    expected = scene.sample(patched, cfg=1.0)
    patched.disable_model_cfg1_optimization()
    assert close(scene.sample(patched, cfg=1.0), expected)


def test_batch_of_seeds_equals_single_runs(scene):
    noise = Golden.input("seeds", 2, 4, 16, 16)
    batch = scene.sample(noise=noise)
    for row in range(2):
        assert close(batch[row : row + 1], scene.sample(noise=noise[row : row + 1])), row


@pytest.mark.slow
def test_batch_of_photos_with_own_identity_and_scale_equals_single_runs(scene):
    """Two seeds each."""
    photos, scales = scene.another("photos", images=3), (0.2, 0.9, 1.4)
    noise = Golden.input("photo_noise", 6, 4, 16, 16)
    batch = photos.sample(photos.patch(id_scale=scales), noise)
    for row in range(6):
        one = slice(row % 3, row % 3 + 1)
        face = scene.face_of(photos.face.tokens[one], photos.face.uncond_tokens)
        lq = scene.lq_of(photos.lq.latent[one])
        patched = photos.patch(lq=lq, face=face, id_scale=scales[one])
        out = photos.sample(patched, noise[row : row + 1])
        assert close(batch[row : row + 1], out), row


def test_one_photo_with_several_references(scene):
    people = scene.another("people", images=2)
    out = people.sample(people.patch(lq=scene.lq), scene.noise.expand(2, -1, -1, -1))
    assert differs(out[:1], out[1:])


def test_tokens_of_several_references_side_by_side(scene):
    """Attention over repeated tokens is attention over the tokens."""
    tokens, uncond = scene.face.tokens, scene.face.uncond_tokens
    twice = scene.face_of(tokens.repeat(1, 2, 1), uncond.repeat(1, 2, 1))
    assert close(scene.sample(scene.patch(face=twice)), scene.sample())


@pytest.mark.parametrize(("height", "width"), [(17, 23), (16, 2), (9, 64)])
def test_any_latent_size(scene, height, width):
    out = scene.another("odd", height=height, width=width).sample()
    assert out.shape == (1, 4, height, width)
    assert out.isfinite().all()


@pytest.mark.slow
def test_a_condition_with_an_area_sees_its_part_of_the_photo(scene):
    (((text, _),), _), whole = scene.texts, scene.sample()
    assert close(scene.sample(positive=conditions(text, area=(16, 16, 0, 0))), whole)
    left, right = (conditions(text, area=(16, 8, 0, x)) for x in (0, 8))
    halves = scene.sample(positive=left + right)
    assert halves.isfinite().all()
    assert differs(halves, whole)


def test_perp_neg_gives_both_its_negatives_no_face(scene):
    """With the weight of the second negative at 0 it is classifier-free guidance."""
    import comfy.samplers
    from comfy_extras.nodes_perpneg import Guider_PerpNeg

    guider = Guider_PerpNeg(scene.patch())
    guider.set_conds(*scene.texts, scene.texts[1])
    guider.set_cfg(3.0, 0.0)
    sampling = scene.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", 1)
    euler, start = comfy.samplers.sampler_object("euler"), torch.zeros_like(scene.noise)
    out = guider.sample(scene.noise, start, euler, sigmas, disable_pbar=True, seed=1)
    assert close(out, scene.sample())
