"""What a restoration depends on beside its photos. Needs no torch, for `--help` to be quick."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from .. import ranges
from ..errors import RestorerIDError
from ..faces.people import BLIND, LEAVE
from ..images.tone import AUTO, COLORS
from .settings import FULL, NEGATIVE, PROMPT, Settings

RESTORE = "restore"
"""What else than `LEAVE` may be done with a large face."""
DTYPES = ("auto", "fp32", "bf16", "fp16")
AUTO_NETWORK, FULL_NETWORK, SMALL_NETWORK = NETWORKS = ("auto", "full", "small")


@dataclass(frozen=True)
class RestoreOptions:
    """Everything that a restoration depends on but its photo.

    What is None is decided by the network that is chosen, see `completed`.

    Attributes:
        references: the people: a photo, or a folder with a photo or a subfolder for each; NAME=PATH
            gives a photo or all photos of a folder to one person.
        aligned: the photos are nothing but a face each.
        id_scale: λ of every face; None follows the quality of each.
        id_scale_preset: formula for that, as `calibrate` wrote it; None is the network's own.
        threshold: cosine from which on a face is taken for a person.
        unmatched: what happens to faces of nobody, `BLIND` or `LEAVE`; None leaves them where there
            are references.
        large_faces: of more pixels than the small network gives: `LEAVE` or `RESTORE`.
        color: one of `images.tone.COLORS`.
        faces_per_run: largest batch.
        network: one of `NETWORKS`.
        steps, guidance, sampler, size, color_fix, start, seed: as in `Settings`.
        prompt, negative: of any length, taken literally.
        models: folders laid out like ComfyUI's models, searched first.
        device: auto, cpu, cuda, cuda:1, mps, xpu.
        dtype: one of `DTYPES`.
        low_memory: networks wait in main memory while they do not work.

    Raises:
        RestorerIDError: a value is out of range.
    """

    references: tuple[str, ...] = ()
    aligned: bool = False
    id_scale: float | None = None
    id_scale_preset: Path | None = None
    threshold: float | None = None
    unmatched: str | None = None
    large_faces: str = LEAVE
    color: str = AUTO
    faces_per_run: int = 4
    network: str = AUTO_NETWORK
    steps: int | None = None
    guidance: float | None = None
    sampler: str = FULL.sampler
    size: int | None = None
    color_fix: str = FULL.color_fix
    start: str | None = None
    seed: int = FULL.seed
    prompt: str = PROMPT
    negative: str = NEGATIVE
    models: tuple[Path, ...] = ()
    device: str = "auto"
    dtype: str = "auto"
    low_memory: bool = False

    def __post_init__(self) -> None:
        for limits, name in (
            (ranges.ID_SCALE, "id_scale"),
            (ranges.COSINE, "threshold"),
            (ranges.FACES_PER_RUN, "faces_per_run"),
        ):
            if (value := getattr(self, name)) is not None:
                limits.check(value, name)
        ranges.check_choice(self.unmatched or BLIND, (BLIND, LEAVE), "unmatched")
        ranges.check_choice(self.large_faces, (LEAVE, RESTORE), "large_faces")
        ranges.check_choice(self.color, COLORS, "color")
        ranges.check_choice(self.network, NETWORKS, "network")
        ranges.check_choice(self.dtype, DTYPES, "dtype")
        self._settings(FULL)

    def completed(self, network: str, usual: Settings, threshold: float) -> RestoreOptions:
        """For one network: what is None gets its values.

        Args:
            network: its name.
            usual: its settings.
            threshold: of its face models.
        """
        settings = self._settings(usual)
        return replace(
            self,
            network=network,
            steps=settings.steps,
            guidance=settings.guidance,
            size=settings.size,
            start=settings.start,
            threshold=threshold if self.threshold is None else self.threshold,
            # With references, strangers are not what the user asks for.
            unmatched=self.unmatched or (LEAVE if self.references else BLIND),
        )

    @property
    def settings(self) -> Settings:
        """How a face is restored; of `completed` options."""
        return self._settings(FULL)

    @property
    def matching(self) -> tuple[float, str]:
        """The cosine from which on a face is a person's, and what is done with faces of nobody; for
        `completed` options."""
        assert self.threshold is not None and self.unmatched is not None, "options not completed"
        return self.threshold, self.unmatched

    def _settings(self, usual: Settings) -> Settings:
        given = {field.name: getattr(self, field.name, None) for field in fields(Settings)}
        return replace(usual, **{k: value for k, value in given.items() if value is not None})


def split_reference(text: str) -> tuple[str | None, Path]:
    """A reference's name (None if it has none) and its photo or folder, which exists.

    Names and paths may hold a `=`: a text that is a path as a whole is one, and else the first `=`
    with a path behind it is the one between.

    Raises:
        RestorerIDError: there is no such path, or nothing before or behind the `=`.
    """
    if not text.strip():
        raise RestorerIDError("--reference is empty; expected PATH or NAME=PATH: give one.")
    if Path(text).exists():
        return None, Path(text)
    parts = text.split("=")
    splits = [("=".join(parts[:i]).strip(), "=".join(parts[i:])) for i in range(1, len(parts))]
    for name, path in splits:
        if path and Path(path).exists():
            if not name:
                raise RestorerIDError(
                    f"--reference {text} names nobody before the =; expected NAME=PATH: write the "
                    f"person's name, or {path} alone."
                )
            return name, Path(path)
    path = splits[0][1] if splits else text
    raise RestorerIDError(
        f"--reference {text}: there is no file or folder '{path}'; expected PATH or NAME=PATH of a "
        "photo or a folder of photos: correct the path."
    )
