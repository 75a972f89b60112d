"""The loop of every stage, on Hugging Face Accelerate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..atomic_files import replacing
from ..errors import RestorerIDError
from ..photo_files.results import save
from .averages import averaged, moving_average
from .checkpoints import Checkpoints
from .run_config import RunConfig
from .stream import Share, loader

log = logging.getLogger(__name__)

LOGS, CHECKPOINTS, STOPPED_BY = "logs", "checkpoints", "not-finite-{step}-{process}.pt"
Batch = Mapping[str, Tensor]


def make_accelerator(config: RunConfig) -> Any:
    """For one process or those of `accelerate launch`; logs to OUT/logs where TensorBoard is."""
    from accelerate import Accelerator
    from accelerate.utils import is_tensorboard_available

    logs = is_tensorboard_available()
    if not logs:
        log.warning(
            "the Python package tensorboard is missing, so no loss curves are written; run "
            "`python -m pip install tensorboard` to have them."
        )
    return Accelerator(
        mixed_precision=config.precision,
        gradient_accumulation_steps=config.accumulation,
        log_with="tensorboard" if logs else None,
        project_dir=str(config.output),
    )


class Run:
    """One module's training, from the latest checkpoint to the last step.

    Args:
        accelerator: as `make_accelerator` gives it.
        config: batch, optimiser, checkpoints and logs.
        module: maps what `prepare` gives to a loss; what requires a gradient learns.
        prepare: from a batch of samples to the module's input.
        faster: parameters whose learning rate is another one, and how many times the usual.

    Attributes:
        step: steps of the optimiser done.
        ema: the moving average of what learns, or None.
    """

    def __init__(
        self,
        accelerator: Any,
        config: RunConfig,
        module: torch.nn.Module,
        prepare: Callable[[Batch], Any],
        faster: tuple[Sequence[torch.nn.Parameter], float] = ((), 1.0),
    ):
        self.accelerator = accelerator
        self.config = config
        self._prepare = prepare
        self.learning = [p for p in module.parameters() if p.requires_grad]
        apart = {id(parameter) for parameter in faster[0]}
        groups = [
            {"params": params, "times": times}
            for params, times in (
                ([p for p in self.learning if id(p) not in apart], 1.0),
                ([p for p in self.learning if id(p) in apart], faster[1]),
            )
            if params
        ]
        optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.module, self.optimizer = accelerator.prepare(module, optimizer)
        self.ema = moving_average(self.learning, config.ema)
        self._checkpoints = Checkpoints(config.output / CHECKPOINTS, config.keep, self.ema)
        self.step = self._checkpoints.load(accelerator)
        if self.ema is not None:
            self.ema.to(accelerator.device)

    def go(self, stream: Dataset[Any], draw: Callable[[], Tensor] | None = None) -> None:
        """Trains to the end.

        Args:
            stream: the samples.
            draw: makes a sample picture (3, H, W) in [0, 1] of the averaged weights; the main
                process calls it.
        Raises:
            RestorerIDError: a loss is not finite; its batch lies in OUT.
        """
        c, accelerator = self.config, self.accelerator
        accelerator.init_trackers(LOGS)
        batches = iter(self._batches(stream))
        bar = tqdm(
            total=c.iterations,
            initial=self.step,
            desc="train",
            unit="step",
            disable=not accelerator.is_main_process,
        )
        losses: list[float] = []
        while self.step < c.iterations:
            losses.append(sum(self._part(next(batches)) for _ in range(c.accumulation)))
            self.step += 1
            if self.step % c.log_every == 0:
                mean = sum(losses) / len(losses) / c.accumulation
                accelerator.log({"loss": mean}, step=self.step)
                bar.set_postfix(loss=f"{mean:.4f}")
                losses.clear()
            if self.step % c.save_every == 0 or self.step == c.iterations:
                self._checkpoints.save(accelerator, self.step)
            if draw and c.sample_every and self.step % c.sample_every == 0:
                self._show(draw)
            bar.update()
        bar.close()
        accelerator.end_training()

    def _batches(self, stream: Dataset[Any]) -> DataLoader[Any]:
        c, accelerator = self.config, self.accelerator
        share = Share(
            c.batch,
            c.accumulation,
            accelerator.process_index,
            accelerator.num_processes,
            self.step,
            c.iterations,
        )
        return loader(stream, share, c.workers, accelerator.device.type == "cuda")

    def _part(self, samples: Batch) -> float:
        """One part's forward and backward pass, and the step after the last; its mean loss."""
        accelerator = self.accelerator
        for group in self.optimizer.param_groups:
            group["lr"] = group["times"] * self.config.rate(self.step)
        with accelerator.accumulate(self.module):
            loss = self.module(self._prepare(samples))
            losses = accelerator.gather(loss.detach().float().reshape(1))
            if not losses.isfinite().all():
                self._stop(samples, float(loss.detach()))
            accelerator.backward(loss)
            if accelerator.sync_gradients and self.config.clip_norm:
                accelerator.clip_grad_norm_(self.learning, self.config.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.ema is not None and accelerator.sync_gradients:
            self.ema.step(self.learning)
        return float(losses.mean())

    def _stop(self, samples: Batch, loss: float) -> None:
        name = STOPPED_BY.format(step=self.step, process=self.accelerator.process_index)
        path = self.config.output / name
        with replacing(path) as temporary:
            torch.save(dict(samples), temporary)
        raise RestorerIDError(
            f"The loss of step {self.step + 1} is not finite ({loss} in this process); expected a "
            f"number: its batch is in '{path}'; lower `learning_rate`, set `clip_norm`, or use "
            "another `precision`."
        )

    def _show(self, draw: Callable[[], Tensor]) -> None:
        if self.accelerator.is_main_process:
            with averaged(self.ema, self.learning), torch.no_grad():
                picture = draw()
            path = self.config.output / "samples" / f"{self.step:07d}.png"
            path.parent.mkdir(exist_ok=True)
            save(picture, path)
            for tracker in self.accelerator.trackers:
                tracker.log_images({"samples": picture[None].numpy()}, step=self.step)
        self.accelerator.wait_for_everyone()
