"""The paper's user study (Fig. 8): a page that asks which of two restorations is better, and the
count of its votes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic_files import write_text
from ..errors import RestorerIDError
from ..photo_files.read import read_photo
from .identities import Identity

if TYPE_CHECKING:
    from torch import Tensor

PAGE = Path(__file__).with_name("study.html")
PLACE = "/*STUDY*/"
"""Where the page's template takes the study."""
NEITHER = "no difference"
QUALITY = 95
"""JPEG quality in the page, without chroma subsampling."""
MAX_BYTES = 16 * 2**20
"""Largest file of votes; one vote takes 150 bytes."""


@dataclass(frozen=True)
class Trial:
    """One question: whose restoration is better.

    Attributes:
        degradation, person: which picture it is.
        degraded, reference: what is shown beside the restorations.
        restored: the picture of each method.
    """

    degradation: str
    person: str
    degraded: Path
    reference: Path
    restored: Mapping[str, Path]

    @property
    def pictures(self) -> list[Path]:
        return [self.degraded, self.reference, *self.restored.values()]


@dataclass(frozen=True)
class Share:
    """Votes of one method, and its 95 % confidence interval (Wilson's) as shares of all votes."""

    method: str
    votes: int
    share: float
    low: float
    high: float


def find_trials(
    results: Path, people: Sequence[Identity], degradations: Sequence[str], methods: Sequence[str]
) -> list[Trial]:
    """What `evaluate` left in its folder, RESULTS/DEGRADATION/METHOD/PERSON.png.

    Raises:
        RestorerIDError: the two methods are one, or a picture is missing.
    """
    if len(set(methods)) != 2:
        raise RestorerIDError(
            f"`methods` are {', '.join(methods)}; expected two that differ, for example base aidsa."
        )
    trials = [
        Trial(
            name,
            person.name,
            results / name / "input" / f"{person.name}.png",
            person.reference,
            {method: results / name / method / f"{person.name}.png" for method in methods},
        )
        for name in degradations
        for person in people
    ]
    pictures = [path for trial in trials for path in trial.pictures]
    if missing := [path for path in pictures if not path.is_file()]:
        raise RestorerIDError(
            f"{len(missing)} of {len(pictures)} pictures are missing, the first is '{missing[0]}'; "
            f"expected what `evaluate PEOPLE -o {results} --methods input {' '.join(methods)}` "
            "makes: run it, or ask for fewer degradations or people."
        )
    return trials


def write_page(trials: Sequence[Trial], path: Path, title: str) -> None:
    """The study as one HTML file that needs no server and no network.

    The undamaged originals are not in it, and neither the page nor a trial's order tells which
    method is which until the votes are saved.

    Raises:
        RestorerIDError: a picture cannot be read.
    """
    shown = [
        {
            "degradation": trial.degradation,
            "person": trial.person,
            "degraded": _embedded(trial.degraded),
            "reference": _embedded(trial.reference),
            "restored": [
                {"method": method, "picture": _embedded(picture)}
                for method, picture in trial.restored.items()
            ],
        }
        for trial in trials
    ]
    study = {"id": _id(shown), "title": title, "trials": shown}
    # `<` in a script could end it.
    data = json.dumps(study).replace("<", "\\u003c")
    template = PAGE.read_text(encoding="utf-8")
    write_text(path, template.replace(PLACE, data, 1))


def count_votes(files: Sequence[Path]) -> list[Share]:
    """The share of each method, and of `NEITHER`, over all votes of all voters.

    Args:
        files: as the page saves them, one or more of each voter.
    Raises:
        RestorerIDError: one holds no votes, is of another study, or repeats a voter's answer.
    """
    from scipy.stats import binomtest

    counts: dict[str, int] = {}
    study: tuple[str, Path] | None = None
    answered: dict[tuple[str, str, str], Path] = {}
    for path in files:
        saved = _read_votes(path)
        study = study or (saved["study"], path)
        if saved["study"] != study[0]:
            raise RestorerIDError(
                f"'{path}' holds votes of another study than '{study[1]}': count them alone."
            )
        for method in (*saved["methods"], NEITHER):
            counts.setdefault(method, 0)
        for vote in saved["votes"]:
            key = (saved["voter"], vote["degradation"], vote["person"])
            if key in answered:
                raise RestorerIDError(
                    f"'{path}' answers '{vote['person']}' ({vote['degradation']}) a second time, "
                    f"after '{answered[key]}': give each voter's last file alone."
                )
            answered[key] = path
            counts[vote["choice"]] += 1
    total = sum(counts.values())
    if not total:
        raise RestorerIDError("There is no vote in any of the files; expected one or more.")
    shares = []
    for method, votes in counts.items():
        low, high = binomtest(votes, total).proportion_ci(method="wilson")
        shares.append(Share(method, votes, votes / total, float(low), float(high)))
    return shares


def _read_votes(path: Path) -> dict[str, Any]:
    """What the page saved, its shape checked."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        saved = json.loads(path.read_text(encoding="utf-8"))
        texts = [saved["study"], saved["voter"], *saved["methods"]]
        for vote in saved["votes"]:
            texts += [vote["degradation"], vote["person"]]
            if vote["choice"] not in (*saved["methods"], NEITHER):
                raise ValueError(f"a choice is {vote['choice']!r:.40}")
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a name is no text")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RestorerIDError(
            f"'{path}' is no file of votes ({type(error).__name__}: {error}); expected what the "
            "page of `study make` saves."
        ) from error
    return saved


def _embedded(path: Path) -> str:
    """A picture as a data URL."""
    data = base64.b64encode(_jpeg(read_photo(path))).decode("ascii")
    return f"data:image/jpeg;base64,{data}"


def _jpeg(image: Tensor) -> bytes:
    """(H, W, 3) in [0, 1]."""
    from PIL import Image

    buffer = io.BytesIO()
    pixels = image.mul(255).round().byte().numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def _id(trials: Sequence[Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(trials).encode()).hexdigest()[:16]
