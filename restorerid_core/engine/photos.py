"""Whole photographs and aligned faces: found, matched, restored and put back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from .. import id_scale, ranges
from ..conditions import FaceIdentity
from ..errors import RestorerIDError
from ..faces.choose import arrange, choose_face
from ..faces.crop import CROP, CropFace, FaceCrops, crop_faces
from ..faces.find.analyzer import FaceAnalyzer
from ..faces.find.packs import FacePack
from ..faces.match import (
    BLIND,
    LEAVE,
    batches,
    match_faces,
    match_photo,
    reason,
    templates,
    work_ahead,
)
from ..faces.paste import PasteSettings, brightness, keeps_tone, paste_faces
from ..faces.reference import KnownPerson
from ..id_scale import IDScalePreset
from ..images.prepare import bgr_from_image, prepare, resize
from .photo_score import Quality
from .restorer import Restorer
from .settings import Settings

Step = Callable[[int, int], object]
"""Called with the number of steps done and their number."""
Measured = tuple[float | None, float | None]
"""Score and λ of a face."""
TOO_LARGE = "left, for it has more pixels than this network gives"
NOTHING: Measured = (None, None)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FaceResult:
    """What happened to one face.

    `id_scale` is λ, `score` what it follows, `cosine` the similarity to the person; `reason` says
    why it got no name where it resembles somebody.
    """

    number: int
    result: str
    cosine: float | None
    score: float | None
    id_scale: float | None
    box: tuple[int, ...] | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """A restored photo (3, H, W) in [0, 1], and its faces from left to right.

    `scored_by` is the name of their scores.
    """

    image: Tensor
    faces: tuple[FaceResult, ...]
    scored_by: str = "score"


@dataclass
class PhotoRestorer:
    """Restores photos one after another with the same people and settings.

    Attributes:
        restorer: the networks.
        analyzer, pack: finds faces.
        people: the references by name.
        identities: their identities by name.
        quality: what λ follows; None uses `id_scale`.
        formula: from its score to λ.
        id_scale: λ for every face when there is no `quality`.
        threshold: cosine from which on a face is taken for a person.
        unmatched: `BLIND` or `LEAVE`.
        faces_per_run: largest batch of the sampler.
        largest: side of a crop in the photo's own pixels above which a face is left as it is, for
            it would lose detail; 0 restores all.

    Raises:
        RestorerIDError: a value is out of range.
    """

    restorer: Restorer
    analyzer: FaceAnalyzer
    pack: FacePack
    people: Mapping[str, KnownPerson]
    identities: Mapping[str, FaceIdentity]
    quality: Quality | None = None
    formula: IDScalePreset = field(default_factory=IDScalePreset)
    id_scale: float = 0.35
    threshold: float = 0.25
    unmatched: str = BLIND
    faces_per_run: int = 4
    largest: float = 0.0
    settings: Settings = field(default_factory=Settings)
    paste: PasteSettings = field(default_factory=PasteSettings)

    def __post_init__(self) -> None:
        ranges.ID_SCALE.check(self.id_scale, "id_scale")
        ranges.COSINE.check(self.threshold, "threshold")
        ranges.check_choice(self.unmatched, (BLIND, LEAVE), "unmatched")
        ranges.FACES_PER_RUN.check(self.faces_per_run, "faces_per_run")

    def restore_photo(self, image: Tensor, step: Step = lambda *_: None) -> PhotoResult:
        """Every face of a photo (3, H, W) in [0, 1].

        Raises:
            RestorerIDError: there is no face.
        """
        found = self.analyzer.find_all(bgr_from_image(image))
        if not found:
            raise RestorerIDError(
                "no face was found in the photo: use one with a face of 30 px or more, or --aligned"
                " for a picture that is nothing but a face."
            )
        order = arrange(found, "left to right")
        faces = [CropFace.of(found[index], number) for number, index in enumerate(order, 1)]
        crops = crop_faces(image[None], faces, [], self.pack, size=self.settings.size or CROP)
        matches = match_photo(crops, self.people, self.threshold, once=True, chosen={})
        results = [
            LEAVE if self._is_too_large(face) else match.result or self.unmatched
            for face, match in zip(faces, matches, strict=True)
        ]
        parts: list[tuple[FaceCrops, Tensor]] = []
        quality: dict[int, Measured] = {}
        todo = list(batches(crops, results, self.identities, self.faces_per_run))
        log.info(work_ahead([len(part.faces) for _, part in todo], len(faces)))
        for face, part in todo:
            pictures, measured = self._restore(part.images, face, step)
            parts.append((part, pictures))
            quality |= {f.number: m for f, m in zip(part.faces, measured, strict=True)}
        restored, _ = paste_faces(image[None], parts, self.paste)
        return PhotoResult(
            restored[0],
            tuple(
                FaceResult(
                    f.number,
                    TOO_LARGE if self._is_too_large(f) else result,
                    m.cosines.get(result),
                    *quality.get(f.number, NOTHING),
                    tuple(map(round, f.face.bbox.tolist())),
                    reason(m, faces),
                )
                for f, m, result in zip(faces, matches, results, strict=True)
            ),
            self._scored_by,
        )

    @property
    def _scored_by(self) -> str:
        return self.quality.name if self.quality else "score"

    def _is_too_large(self, face: CropFace) -> bool:
        return 0 < self.largest < CROP / face.zoom

    def restore_aligned(self, crop: Tensor, step: Step = lambda *_: None) -> PhotoResult:
        """A picture (3, H, W) in [0, 1] that is nothing but a face, as it is.

        The only person of the references is taken for it without a look; of several it is the most
        similar one.
        """
        height, width = crop.shape[1:]
        if 0 < self.largest < min(height, width):
            return PhotoResult(crop, (FaceResult(1, TOO_LARGE, None, None, None, None),))
        name, cosine = self._person_of(crop)
        if name == BLIND and self.unmatched == LEAVE:
            return PhotoResult(crop, (FaceResult(1, LEAVE, None, None, None, None),))
        face = self.identities.get(name)
        (restored,), measured = self._restore(crop[None], face, step)
        if keeps_tone(crop, [crop], self.paste.color):
            source = resize(crop[None], (restored.shape[1], restored.shape[2]))[0]
            restored = (source + brightness(restored - source)).clamp(0, 1)
        result = FaceResult(1, name, cosine, *measured[0], None)
        return PhotoResult(restored, (result,), self._scored_by)

    def _person_of(self, crop: Tensor) -> tuple[str, float | None]:
        if len(self.identities) == 1:
            return next(iter(self.identities)), None
        bgr = bgr_from_image(crop)
        found = self.analyzer.analyze(bgr) if self.identities else []
        if not found:
            return BLIND, None
        embedding = choose_face(found, bgr.shape).embedding
        (match,) = match_faces(embedding[None], templates(self.people), self.threshold)
        return match.result or BLIND, match.cosines.get(match.result or "")

    def _restore(
        self, images: Tensor, face: FaceIdentity | None, step: Step
    ) -> tuple[Tensor, list[Measured]]:
        """Restored crops, and for each its score and λ; blind ones have neither."""
        if face is None:
            restored = self.restorer.restore(images, None, [0.0], self.settings, step)
            return restored, [NOTHING] * len(images)
        id_scales, scores = [self.id_scale] * len(images), [None] * len(images)
        if self.quality is not None:
            prepared = prepare(images, self.settings.size)
            scores = self.quality(prepared.padded, prepared.size)
            id_scales = id_scale.adaptive_id_scale(scores, self.formula.alpha, self.formula.beta)
        restored = self.restorer.restore(images, face, id_scales, self.settings, step)
        return restored, list(zip(scores, id_scales, strict=True))
