"""`train`: the stages of the paper on prepared photos."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import RestorerIDError
from ..run_folder import DIGESTS, SETTINGS, Digests, alone, check_not_read, keep_settings
from .progress import load_torch

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.cache_latents import LatentsConfig
    from ..training.data import AlignedFaces, PreparedFaces
    from ..training.export_small import SmallConfig
    from ..training.run_config import RunConfig

    Config = RunConfig | LatentsConfig | SmallConfig

FREE = (
    "iterations",
    "accumulation",
    "gradient_checkpointing",
    "workers",
    "log_every",
    "save_every",
    "keep",
    "held_out",
    "sample_every",
    "samples",
    "sample_steps",
    "cooldown",
)
"""What may be changed before a run goes on."""
STAGES = {
    "base": "stage 1: LQ encoder and SPADE, without faces",
    "identity": "ID attention and face projector, for bases that no IP-Adapter exists for",
    "fir": "stage 2: the FIR-Adapter, on stage 1's adapter and IP-Adapter-FaceID-Plus",
    "single": "both at once, the paper's ablation",
    "autoencoder": "a small VAE",
    "unet": "a small UNet on it, as a base for trials",
    "left": "the network that tells how much of an identity is left, for the ID-scale",
    "small": "no training: the files of a small network in half precision, as they are shipped",
    "latents": "no training: keeps the latents of photos and of degraded copies",
}

SOURCES = {
    "base": "a checkpoint of SD 1.5, such as restorerid_sd15.safetensors, which `fetch` brings",
    "start": "an adapter, such as stage 1's restorerid.safetensors",
    "left": "the file that `train left` wrote",
    "ip_adapter": "ip-adapter-faceid-plus_sd15.bin of IP-Adapter",
    "autoencoder": "the file that `train autoencoder` wrote",
}
"""Settings of files that a run starts from, and what is expected of them."""


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "train",
        help="train an adapter on prepared photos",
        description="Train one stage on what `prepare` made. The folder `output` of the "
        "configuration gets checkpoints, loss curves for TensorBoard, sample pictures and at the "
        "end restorerid.safetensors, which nodes and commands load. A run that was stopped goes "
        "on. Several GPUs: accelerate launch --multi_gpu -m restorerid_core train STAGE ...",
    )
    add = parser.add_argument
    add("stage", choices=STAGES, help="; ".join(f"{k}: {text}" for k, text in STAGES.items()))
    add(
        "--config",
        required=True,
        type=Path,
        metavar="FILE",
        help="settings in JSON or TOML; see docs/training.md",
    )
    parser.set_defaults(run=train)


def train(args: argparse.Namespace) -> None:
    """Runs the command."""
    load_torch()
    from accelerate import PartialState

    from ..engine.small_network import LEFT_NAME
    from ..training.cache_latents import LatentsConfig
    from ..training.cached_latents import SHARDS
    from ..training.checkpoints import Checkpoints
    from ..training.config import PRESETS, TrainingConfig
    from ..training.config_file import plain, read_config
    from ..training.export_small import SmallConfig
    from ..training.identity_left import LeftConfig
    from ..training.loop import CHECKPOINTS
    from ..training.small_base import AutoencoderConfig, UNetConfig
    from ..training.small_stages import AUTOENCODER_NAME
    from ..weights.conversion import SD15_NAME, SLIM_NAME

    kinds: dict[str, type[Any]] = {
        "autoencoder": AutoencoderConfig,
        "unet": UNetConfig,
        "latents": LatentsConfig,
        "left": LeftConfig,
        "small": SmallConfig,
    }
    kind = kinds.get(args.stage, TrainingConfig)  # that of the paper's stages
    config = read_config(args.config, kind, PRESETS.get(args.stage, {}))
    check_sources(config)
    state = PartialState()
    settings = {key: value for key, value in plain(config).items() if key not in FREE}
    products = (SLIM_NAME, SD15_NAME, AUTOENCODER_NAME, SETTINGS, LEFT_NAME)
    written = [config.output / name for name in products]
    check_not_read(written, [args.config, *files_of(config).values()])
    with alone(config.output, "train") if state.is_main_process else nullcontext():
        checkpoints = Checkpoints(config.output / CHECKPOINTS, keep=1)
        begun = bool(checkpoints.steps()) or any(config.output.glob(SHARDS))
        settings = {"stage": args.stage, **settings, **contents(config)}
        keep_settings(config.output, settings, state.is_main_process, begun)
        path = train_on(args.stage, config)
    if state.is_main_process:
        print(path)


def check_sources(config: Config) -> None:
    """Raises RestorerIDError where a file that the run starts from is not there."""
    for name, wanted in SOURCES.items():
        path = getattr(config, name, None)
        if path is not None and not path.is_file():
            raise RestorerIDError(
                f"`{name}` is '{path}', and there is no such file; expected {wanted}: correct the "
                "path in the configuration."
            )


def files_of(config: Config) -> dict[str, Path]:
    """The files that a run reads, by their settings."""
    from ..training import cached_latents
    from ..training.data.faces import INDEX

    paths = {name: value for name, value in vars(config).items() if isinstance(value, Path)}
    files = {name: path for name, path in paths.items() if path.is_file()}
    data = getattr(config, "data", None)
    if data is None:
        return files
    cached = data / cached_latents.INDEX
    return {**files, "data": cached if cached.is_file() else data / INDEX}


def contents(config: Config) -> dict[str, str | None]:
    """The content of these files, for a run does not go on with others under the same names."""
    digests = Digests(config.output / DIGESTS)
    return {f"content of {name}": digests.of(path) for name, path in files_of(config).items()}


def train_on(stage: str, config: Config) -> Path:
    """Trains a stage on its prepared photos; returns the product's file.

    Raises:
        RestorerIDError: as the stages, and as `open_photos`.
    """
    from ..training.cache_latents import LatentsConfig
    from ..training.cached_latents import CachedLatents
    from ..training.config import Stage, TrainingConfig
    from ..training.export_small import SmallConfig, publish
    from ..training.identity_left import LeftConfig, train_left
    from ..training.small_base import AutoencoderConfig, UNetConfig
    from ..training.small_stages import train_autoencoder, train_unet
    from ..training.stages import train_stage

    if isinstance(config, LatentsConfig):
        return keep_latents(config)
    if isinstance(config, SmallConfig):
        return publish(config)
    if isinstance(config, LeftConfig):
        return train_left(config, CachedLatents(config.data))
    photos, clip = open_photos(stage, config.data, config)
    if isinstance(config, AutoencoderConfig):
        return train_autoencoder(config, photos)
    if isinstance(config, UNetConfig):
        return train_unet(config, photos)
    assert isinstance(config, TrainingConfig)
    held_out = None
    if config.held_out is not None:
        held_out, _ = open_photos(stage, config.held_out, config)
    return train_stage(cast(Stage, stage), config, photos, clip, held_out)


def keep_latents(config: LatentsConfig) -> Path:
    """Computes and keeps latents; returns their folder.

    Raises:
        RestorerIDError: the photos, the VAE or dlib's recogniser cannot be used.
    """
    from ..faces.dlib.recognition import load_recognition
    from ..training.cache_latents import LatentCache
    from ..training.identity_loss import embed_faces
    from ..training.small_stages import load_autoencoder

    faces = open_faces(config.data, config.degraded_at or config.size)
    autoencoder, _ = load_autoencoder(config.base)
    embed = partial(embed_faces, recognition=load_recognition()) if config.embeddings else None
    LatentCache(config, faces, autoencoder, embed).keep()
    return config.output


def open_faces(folder: Path, size: int) -> AlignedFaces | PreparedFaces:
    """Faces that `prepare` made, or aligned pictures in a folder for each person, resized.

    Raises:
        RestorerIDError: there are none.
    """
    from ..training.data import INDEX, AlignedFaces, PreparedFaces

    plain = folder.is_dir() and not (folder / INDEX).is_file()
    return AlignedFaces(folder, size) if plain else PreparedFaces(folder)


def open_photos(stage: str, folder: Path, config: RunConfig) -> tuple[Any, Tensor | None]:
    """Photos for a stage, and CLIP's features of no face where it needs them; or kept latents.

    Raises:
        RestorerIDError: `prepare` did not make the folder, or it lacks what the stage needs.
    """
    from ..training import cached_latents
    from ..training.data import PreparedFaces, ReferencePairs, SinglePhotos

    if (folder / cached_latents.INDEX).is_file():
        return cached_latents.CachedLatents(folder), None
    if stage in ("identity", "fir", "single"):
        prepared = PreparedFaces(folder)
        return ReferencePairs(prepared, config.seed), prepared.unconditional_clip()
    return SinglePhotos(open_faces(folder, config.size), config.seed), None
