"""Photographs of disc faces, and the photo nodes with their defaults."""

from typing import Any

from disc_faces import disc_photo, portrait
from torch import Tensor

TWO = disc_photo(("Ann", 90, 100, 40), ("Bob", 300, 90, 30), width=400)
NONE = disc_photo()
THREE = disc_photo(("Cid", 60, 60, 16), ("Dan", 150, 70, 24), ("Eve", 240, 60, 20), height=130)


class PhotoNodes:
    """The three nodes as ComfyUI runs them: every input a list, their defaults, some replaced."""

    def __init__(self, ours: Any, node: Any, restorer: Any, clip_vision: Any):
        self.person = ours("restorerid_core.faces.people").Person
        self.crop, self.match, self.paste = map(node, ("FaceCrop", "MatchFaces", "FacePaste"))
        self.crop_inputs = {"order": "left to right", "faces": "all", "max_faces": 0}
        self.crop_inputs |= {"min_size": 0, "size": 256, "face_models": "auto"}
        self.match_inputs = {"restorerid": restorer, "clip_vision": clip_vision, "once": True}
        self.match_inputs |= {"threshold": 0.25, "unmatched": "restore blind", "choices": ""}
        self.match_inputs["faces_per_run"] = 8
        self.paste_inputs = {"feather": 0.3, "color": "auto", "grain": 1.0}

    def people(self, *names: str) -> tuple[Any, ...]:
        return tuple(self.person(name, (portrait(name)[0],)) for name in names)

    def run_crop(self, photo: list[Tensor], **changes: Any) -> Any:
        """(images, crops, previews, report)."""
        return self.crop.execute(photo=photo, **_listed(self.crop_inputs, changes)).result

    def run_match(self, crops: list[Any], *people: tuple[Any, ...], **changes: Any) -> Any:
        """(identities, images, crops, report)."""
        inputs = _listed(self.match_inputs, changes)
        return self.match.execute(crops=crops, references=list(people), **inputs).result

    def run_paste(self, photo, crops, restored, **changes) -> Any:
        """(photos, masks, report)."""
        inputs = _listed(self.paste_inputs, changes)
        return self.paste.execute(photo=photo, crops=crops, restored=restored, **inputs).result


def _listed(inputs: dict[str, Any], changes: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [value] for name, value in {**inputs, **changes}.items()}


def numbers(faces: Any) -> list[int]:
    return [face.number for face in faces]


def blocked(value: Any) -> bool:
    return type(value).__name__ == "ExecutionBlocker"
