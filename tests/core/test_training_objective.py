"""The loss of both stages: equal to the released step, and only what should learn does."""

from typing import Any

import pytest
import torch
from helpers import Golden, relative_error
from torch.nn.functional import normalize
from training_scenes import golden_objective, golden_unet, golden_weights, made_batch

from restorerid_core.adapter.plain_step import PlainConditioning
from restorerid_core.training.config import Stage
from restorerid_core.training.initial_weights import Weights, initialise_fir
from restorerid_core.training.objective import (
    LatentBatch,
    LossTerms,
    Objective,
    add_noise,
    remove_noise,
)
from restorerid_core.weights.layout import FIR, ID_ATTENTION, SPADE, group_of

CALL, GRADIENT = 1e-5, 2e-5
"""The released gradients are themselves up to 1.02e-5 away from ours in float64."""
TEXT = Golden.input("text", 1, 77, 768)


def gradients(objective: Objective) -> dict[str, torch.Tensor]:
    """By the authors' keys, of what has one."""
    return {k: p.grad for k, p in objective.adapter.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("stage", ["base", "fir"])
def test_loss_and_gradients_equal_the_released_step(golden: Any, parity: Any, stage: Stage) -> None:
    g: Golden = golden("base_and_training")
    tag = f"tiny.train_{stage}"
    context = g.input(f"{tag}.context", 2, 81 if stage == "fir" else 77, 768)
    names = ("z_gt", "noise", "lq_latent")
    target, noise, lq = (g.input(f"{tag}.{name}", 2, 4, 16, 16) for name in names)
    objective = golden_objective(stage, context[:, :77])
    batch = LatentBatch(target, lq, noise, g[f"{tag}.timesteps"])
    loss = objective.loss(batch, context[:, 77:] if stage == "fir" else None)
    loss.backward()

    prefix = f"{tag}.grad."
    wanted = {k.removeprefix(prefix): v for k, v in g.outputs.items() if k.startswith(prefix)}
    found = gradients(objective)
    assert len(wanted) == 4
    assert relative_error(loss, g[f"{tag}.loss"]) <= CALL
    parity(GRADIENT, *((found[key], gradient) for key, gradient in wanted.items()))


def state(objective: Objective) -> dict[str, torch.Tensor]:
    unet = objective._network.unet.state_dict()
    return objective.state_dict() | {f"unet.{key}": tensor for key, tensor in unet.items()}


@pytest.mark.parametrize(
    ("stage", "learns"),
    [("base", {"LQ encoder", SPADE}), ("fir", {FIR}), ("single", {"LQ encoder", SPADE, FIR})],
)
def test_a_stage_trains_its_part_alone(stage: Stage, learns: set[str]) -> None:
    objective = golden_objective(stage, TEXT)
    before = {key: tensor.clone() for key, tensor in state(objective).items()}
    parameters = (*objective.parameters(), *objective._network.unet.parameters())
    optimizer = torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=1e-3)
    objective(made_batch(stage != "base")).backward()
    optimizer.step()
    changed = {k for k, tensor in state(objective).items() if not torch.equal(before[k], tensor)}
    wanted = {f"adapter.{key}" for key in objective.adapter.state_dict() if group_of(key) in learns}
    assert changed == wanted


def test_identity_learns_where_no_ip_adapter_exists() -> None:
    objective = golden_objective("fir", TEXT, learn_identity=True)
    objective(made_batch(True)).backward()
    assert {group_of(key) for key in gradients(objective)} == {FIR, ID_ATTENTION}
    assert all(p.grad is not None for p in objective.projector.parameters())


def test_a_new_fir_does_nothing_and_then_all_of_it_learns() -> None:
    batch, objective = made_batch(True), golden_objective("fir", TEXT)
    initialise_fir(objective.adapter)
    tokens = objective.tokens(batch)
    with torch.no_grad():
        new = objective.predict(batch.target, batch.timesteps, batch.lq, tokens)
        without = PlainConditioning(
            objective.adapter, batch.lq, batch.timesteps, tokens, 0.75, fir=0.0
        )
        texts = TEXT.expand(2, -1, -1)
        expected = objective._network(batch.target, batch.timesteps, texts, without)
    assert torch.equal(new, expected)

    learning = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3)
    found: dict[str, torch.Tensor] = {}
    for _ in range(2):
        optimizer.zero_grad()
        objective(batch).backward()
        found = gradients(objective)
        optimizer.step()
    assert found.keys() == {key for key in objective.adapter.state_dict() if group_of(key) == FIR}
    assert [key for key, gradient in found.items() if not gradient.any()] == []


def test_stage_two_begins_at_stage_one_with_identity() -> None:
    """With λ = 0, no LoRA and a new FIR it is the base model, bit for bit."""
    weights = golden_weights()
    initialise_fir(weights.adapter)
    lora = {key: torch.zeros_like(tensor) for key, tensor in weights.lora.items()}
    weights = Weights(weights.adapter, weights.projector, lora)
    losses = []
    settings: tuple[tuple[Stage, float], ...] = (("base", 0.0), ("fir", 0.0), ("fir", 0.75))
    for stage, scale in settings:
        objective = Objective(golden_unet(), weights, TEXT, stage, scale)
        with torch.no_grad():
            losses.append(objective(made_batch(stage == "fir")))
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["base", "fir", "single"])
def test_gradient_checkpointing_gives_the_same_gradient(stage: Stage) -> None:
    found = []
    for checkpointing in (False, True):
        objective = golden_objective(stage, TEXT, checkpointing=checkpointing)
        objective(made_batch(stage != "base")).backward()
        found.append(gradients(objective))
    assert all(relative_error(found[1][key], found[0][key]) < 1e-5 for key in found[0])


@torch.no_grad()
def test_min_snr_weights_of_the_loss() -> None:
    objective = golden_objective("base", TEXT, terms=LossTerms(snr=5.0))
    batch = made_batch(False)
    alphas = objective.alphas[batch.timesteps]
    noised = add_noise(batch.target, batch.noise, alphas)
    eps = objective.predict(noised, batch.timesteps, batch.lq, None)
    errors = (eps - batch.noise).square().mean((1, 2, 3))
    snr = alphas / (1 - alphas)
    assert snr[0] > 5 > snr[1]
    wanted = (errors[0] * 5 / snr[0] + errors[1]) / 2
    assert relative_error(objective.loss(batch, None), wanted) < 1e-6


def test_identity_loss_of_clear_predictions() -> None:
    """Of the two samples the one at t = 803 is too noisy to tell who it is."""
    own = normalize(Golden.input("own", 2, 4))
    terms = LossTerms(likeness=lambda z: normalize(z.mean((2, 3))))
    objective = golden_objective("single", TEXT, learn_identity=True, terms=terms)
    batch = made_batch(True)._replace(own=own)
    tokens = objective.tokens(batch)
    alphas = objective.alphas[batch.timesteps]
    noised = add_noise(batch.target, batch.noise, alphas)
    loss = objective.loss(batch, tokens)
    with torch.no_grad():
        eps = objective.predict(noised, batch.timesteps, batch.lq, tokens)
        predicted = remove_noise(noised, eps, alphas)[:1]
        assert relative_error(add_noise(predicted, eps[:1], alphas[:1]), noised[:1]) < 1e-5
        cosine = (normalize(predicted.mean((2, 3))) * own[:1]).sum()
        extra = float(loss - (eps - batch.noise).square().mean())
    assert extra == pytest.approx(float(0.1 * (1 - cosine) / 2), abs=1e-5)
    loss.backward()
    assert all(p.grad is not None for p in objective.identity_parameters())
