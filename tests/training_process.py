"""One process of a training: writes the gradient of its first step. Arguments: folder, batch."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

if __name__ == "__main__":
    import torch
    from helpers import Golden
    from training_scenes import (
        CLIP_DIM,
        CLIP_LENGTH,
        BlockVAE,
        Photos,
        golden_objective,
        tiny_config,
    )

    from restorerid_core.degradation.config import PRESETS
    from restorerid_core.degradation.pipeline import Degradation
    from restorerid_core.training.latents import Latents
    from restorerid_core.training.loop import Run, make_accelerator
    from restorerid_core.training.stream import Stream

    folder, batch = Path(sys.argv[1]), int(sys.argv[2])
    config = tiny_config(folder, batch=batch, iterations=1)
    accelerator = make_accelerator(config)
    own = folder / f"process-{accelerator.process_index}"
    own.mkdir(parents=True)
    objective = golden_objective("single", Golden.input("text", 1, 77, 768))
    nobody = Golden.input("nobody", 1, CLIP_LENGTH, CLIP_DIM)
    degradation = Degradation(PRESETS["light"])
    # No LQ latent is dropped: zeros in norms of one channel would magnify rounding.
    latents = Latents(BlockVAE(), degradation, accelerator.device, 0.0, 0.5, nobody)
    run = Run(accelerator, config, objective, latents)
    step = run.optimizer.step

    def keep_gradient() -> None:
        named = objective.adapter.named_parameters()
        torch.save({k: p.grad for k, p in named if p.grad is not None}, own / "gradient.pt")
        step()

    run.optimizer.step = keep_gradient
    run.go(Stream(Photos(128), config, True))
    (own / "processes").write_text(str(accelerator.num_processes))
    torch.save(run.module.state_dict(), own / "weights.pt")
