"""Strengths, condition halves, batches and sizes of the patched MODEL, on a tiny SD-1.5."""

import copy
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import Golden
from sampling import Scene, close, conditions, differs


def test_apply_then_discard_leaves_the_model_bit_identical(
    model: Any, restorer: Any, scene: Scene
) -> None:
    before = scene.sample(model)
    weights = {k: v.clone() for k, v in model.model.state_dict().items()}
    options = copy.deepcopy(model.model_options)
    assert differs(scene.sample(scene.patch(model, restorer)), before)
    assert torch.equal(scene.sample(model), before)
    assert all(torch.equal(v, weights[k]) for k, v in model.model.state_dict().items())
    assert model.model_options == options


@pytest.mark.parametrize("face", [True, False])
def test_strength_zero_everywhere_is_the_bare_model_bit_for_bit(
    model: Any, restorer: Any, scene: Scene, face: bool
) -> None:
    changes = {"structure": 0.0, "fir": 0.0, "scale": (0.0,)}
    patched = scene.patch(model, restorer, **changes, **({} if face else {"face": None}))
    assert torch.equal(scene.sample(patched), scene.sample(model))


@pytest.mark.parametrize(
    "one", [{"structure": 0.0}, {"fir": 0.0}, {"scale": (0.0,)}, {"structure": 0.5}, {"fir": 0.5}]
)
def test_each_strength_acts_alone(model: Any, restorer: Any, scene: Scene, one: Any) -> None:
    assert differs(
        scene.sample(scene.patch(model, restorer, **one)),
        scene.sample(scene.patch(model, restorer)),
    )


def test_no_identity_strength_is_the_base_model(model: Any, restorer: Any, scene: Scene) -> None:
    without = scene.patch(model, restorer, fir=0.0, scale=(0.0,))
    assert torch.equal(scene.sample(without), scene.sample(scene.patch(model, restorer, face=None)))


def test_separate_halves_equal_batched_ones(
    model: Any, restorer: Any, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = scene.patch(model, restorer)
    together = scene.sample(patched)
    monkeypatch.setattr("comfy.samplers.can_concat_cond", lambda a, b: a is b)
    assert close(scene.sample(patched), together)


def test_cfg_1_calls_the_positive_half_alone(
    model: Any, restorer: Any, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = scene.patch(model, restorer)
    expected = scene.sample(patched, cfg=1.0)
    patched.disable_model_cfg1_optimization()
    assert close(scene.sample(patched, cfg=1.0), expected)


def test_batch_of_seeds_equals_single_runs(model: Any, restorer: Any, scene: Scene) -> None:
    patched = scene.patch(model, restorer)
    noise = Golden.input("seeds", 3, 4, 16, 16)
    batch = scene.sample(patched, noise)
    for row in range(3):
        assert close(batch[row : row + 1], scene.sample(patched, noise[row : row + 1]))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_batch_of_photos_with_own_identity_and_scale_equals_single_runs(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene, seeds: int
) -> None:
    photos = Scene(extension, images=3, name="photos")
    scales = (0.2, 0.9, 1.4)
    noise = Golden.input("photo_noise", 3 * seeds, 4, 16, 16)
    batch = photos.sample(photos.patch(model, restorer, scale=scales), noise)
    core = extension.restorerid_core.conditions
    for row in range(len(noise)):
        one = row % 3
        face = core.FaceIdentity(
            photos.tokens[one + 1 :][:1], photos.tokens[:1], torch.zeros(1, 512)
        )
        patched = photos.patch(
            model,
            restorer,
            lq=core.LQCondition(photos.lq.latent[one : one + 1]),
            face=face,
            scale=(scales[one],),
        )
        assert close(batch[row : row + 1], photos.sample(patched, noise[row : row + 1]))


def test_one_photo_with_several_references(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene
) -> None:
    people = Scene(extension, images=2, name="people")
    patched = people.patch(model, restorer, lq=scene.lq)
    out = people.sample(patched, scene.noise.expand(2, -1, -1, -1))
    assert differs(out[:1], out[1:])


def test_tokens_of_several_references_side_by_side(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene
) -> None:
    tokens = scene.tokens[1:]
    face = extension.restorerid_core.conditions.FaceIdentity
    twice = face(tokens.repeat(1, 2, 1), scene.tokens[:1].repeat(1, 2, 1), torch.zeros(1, 512))
    # Attention over repeated tokens is attention over the tokens.
    assert close(
        scene.sample(scene.patch(model, restorer, face=twice)),
        scene.sample(scene.patch(model, restorer)),
    )


@pytest.mark.parametrize(("height", "width"), [(17, 23), (16, 2), (33, 17), (9, 64)])
def test_any_latent_size(
    extension: ModuleType, model: Any, restorer: Any, patching: ModuleType, height: int, width: int
) -> None:
    odd = Scene(extension, height=height, width=width, name="odd")
    out = odd.sample(odd.patch(model, restorer))
    assert out.shape == (1, 4, height, width)
    assert out.isfinite().all()


@pytest.mark.slow
def test_a_condition_with_an_area_sees_its_part_of_the_photo(
    model: Any, restorer: Any, scene: Scene
) -> None:
    patched = scene.patch(model, restorer)
    whole = conditions(scene.text[:1], area=(16, 16, 0, 0))
    assert close(scene.sample(patched, positive=whole), scene.sample(patched))
    left = conditions(scene.text[:1], area=(16, 8, 0, 0))
    right = conditions(scene.text[:1], area=(16, 8, 0, 8))
    halves = scene.sample(patched, positive=left + right)
    assert halves.isfinite().all()
    assert differs(halves, scene.sample(patched))


def test_perp_neg_gives_both_its_negatives_no_face(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene
) -> None:
    from comfy_extras.nodes_perpneg import Guider_PerpNeg

    patched = scene.patch(model, restorer)
    guider = Guider_PerpNeg(patched)
    cond = conditions(scene.text[:1])
    guider.set_conds(cond, conditions(scene.text[1:]), conditions(scene.text[1:]))
    guider.set_cfg(3.0, 0.0)
    import comfy.samplers

    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
    out = guider.sample(
        scene.noise,
        torch.zeros_like(scene.noise),
        comfy.samplers.sampler_object("euler"),
        sigmas,
        disable_pbar=True,
        seed=1,
    )
    # With the weight of the second negative at 0 it is classifier-free guidance.
    assert close(out, scene.sample(patched))
