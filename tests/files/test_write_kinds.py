"""Every kind goes back into a file like its own: outside of what is new no sample changes."""

import numpy as np
import pytest
import torch
from made_kinds import KINDS

from restorerid_core.photo_files import kinds
from restorerid_core.photo_files.kinds import SUFFIXES, kind_of, own_kind
from restorerid_core.photo_files.read import open_photo, read_photo
from restorerid_core.photo_files.write import write_photo

FACE = (slice(9, 21), slice(13, 30))
LOSSY = {kinds.JPEG}
STEP = {"grey half": 1e-3}
"""Largest difference of what is new, where it is not a step of 8 or of 16 bits."""


def restored(image: torch.Tensor) -> torch.Tensor:
    """A face that is other: smooth, and within all colour spaces."""
    other = image.clone()
    other[FACE] = torch.linspace(0.3, 0.6, 17)[:, None] * torch.tensor([1, 0.9, 0.8])
    return other


@pytest.mark.parametrize("name", KINDS)
def test_only_the_face_is_new(tmp_path, name):
    made = KINDS[name]
    source = tmp_path / f"photo{made.suffix}"
    made.make(source)
    photo, image = open_photo(source), read_photo(source)
    kind = own_kind(photo.kind)
    target = tmp_path / f"restored{SUFFIXES[kind][0]}"
    new = write_photo(source, restored(image), target)
    assert new == pytest.approx(12 * 17 / (48 * 64))
    assert kind_of(target) == kind
    again, seen = open_photo(target), read_photo(target)
    outside = np.ones(seen.shape[:2], bool)
    outside[FACE] = False
    if kind in LOSSY:  # coded anew, by the photo's own tables
        assert (seen - image)[outside].abs().mean() < 0.6 / 255
        return
    deeper = photo.kind != kind and 255 < photo.white < 65535
    if deeper:  # PNG has no such depth: its lower bits repeat the upper ones
        shift = 16 - int(photo.white).bit_length()
        assert np.array_equal(again.samples[outside] >> shift, photo.samples[outside])
    else:
        assert torch.equal(seen[outside], image[outside])
    if photo.kind == kind:
        assert again.samples.dtype == photo.samples.dtype and again.white == photo.white
        assert np.array_equal(again.samples[outside], photo.samples[outside])
    face = restored(image)[FACE]
    if photo.space.channels == 1:
        face = face @ torch.tensor([0.299, 0.587, 0.114])
        face = face[..., None].expand(-1, -1, 3)
    step = STEP.get(name.removeprefix("TIFF "), 2.6 / 255 if again.white <= 255 else 3e-3)
    assert (seen[FACE] - face).abs().max() < step


@pytest.mark.parametrize("name", KINDS)
def test_a_photo_without_a_new_pixel_is_what_it_was(tmp_path, name):
    made = KINDS[name]
    source = tmp_path / f"photo{made.suffix}"
    made.make(source)
    image = read_photo(source)
    kind = own_kind(open_photo(source).kind)
    target = tmp_path / f"restored{SUFFIXES[kind][0]}"
    assert write_photo(source, image, target) == 0
    step = 13 / 65535 if "JPEG XL" in name else 1.1 / 65535  # linear light is steep in the dark
    assert (read_photo(target) - image).abs().max() < step
    if kind == open_photo(source).kind:
        assert target.read_bytes() == source.read_bytes()
