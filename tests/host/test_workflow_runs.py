"""The shipped workflows run on a real server, at 256 px and 2 steps.

Every network and every file is of full size, with seeded weights: a restored face is noise.
"""

import io
import json
import shutil
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image, ImageFilter
from shipped_workflows import NAMES, api_form, only, small, titled

pytestmark = pytest.mark.slow

OTHERS = {"restorerid_batch_folder", "restorerid_compare", "restorerid_group_photo"}
CAPTIONS = 430
"""Pixels: where the captions begin on a grid of one row."""


def picture(server, image):
    file = server.get(f"/view?{urlencode(image)}")
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


class Run:
    """What a run of a workflow gave, by the titles of its nodes."""

    def __init__(self, server, prompt, outputs):
        self.server, self.prompt, self.outputs = server, prompt, outputs

    def text(self, title):
        (text,) = self.outputs[titled(self.prompt, title)]["text"]
        return text

    def images(self, title):
        shown = self.outputs[titled(self.prompt, title)]["images"]
        return [picture(self.server, image) for image in shown]


def failure(entry):
    """The error that a prompt ended with."""
    messages = entry["status"]["messages"]
    (error,) = (data for event, data in messages if event == "execution_error")
    return error


@pytest.mark.parametrize("name", sorted(set(NAMES) - OTHERS))
def test_portrait(server, name):
    prompt = small(api_form(name))
    outputs = server.run(prompt)
    (saved,) = outputs[only(prompt, "SaveImage")]["images"]
    restored = picture(server, saved)
    assert restored.shape == (256, 256, 3)
    assert restored.std() > 5  # a NaN would leave it black
    if name == "restorerid_blind":
        return
    (report,) = outputs[only(prompt, "PreviewAny")]["text"]
    assert report.startswith("image 1: MUSIQ ")
    previews = [key for key, node in prompt.items() if node["class_type"] == "PreviewImage"]
    shapes = {picture(server, outputs[key]["images"][0]).shape for key in previews}
    assert shapes == {(224, 224, 3), (256, 256, 3)}


def test_no_face_is_explained_and_the_queue_goes_on(server):
    photo = server.folder / "input" / "wall.png"
    Image.new("RGB", (320, 240), (120, 110, 100)).save(photo)
    bad = small(api_form("restorerid_ksampler"))
    (reference,) = (n for n in bad.values() if n["inputs"].get("image") == "reference.png")
    reference["inputs"]["image"] = photo.name
    fix = {"image": ["1", 0], "source": ["1", 0], "method": "adain"}
    good = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "degraded.png"}},
        "2": {"class_type": "RestorerIDColorFix", "inputs": fix},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    first, second = server.submit(bad), server.submit(good)

    error = failure(server.wait(first))
    assert error["node_type"] == "RestorerIDFaceEmbed"
    assert "reference image 1 of 1" in error["exception_message"], json.dumps(error)
    assert "no face" in error["exception_message"].lower()
    assert server.wait(second)["status"]["status_str"] == "success"


def test_group_photo(server):
    """One face is Anna by hand, one is nobody's; the other 27 and all else stay as they are."""
    prompt = small(api_form("restorerid_group_photo"))
    prompt[only(prompt, "RestorerIDFaceCrop")]["inputs"]["faces"] = "1, 5"
    prompt[only(prompt, "RestorerIDMatchFaces")]["inputs"]["choices"] = "1 = blind\n5 = Anna"
    paste = only(prompt, "RestorerIDFacePaste")
    for key, kind, title, put, link in (
        ("mask", "MaskToImage", "to image", "mask", [paste, 1]),
        ("preview", "PreviewImage", "Mask", "images", ["mask", 0]),
        ("before", "PreviewImage", "Before", "images", [titled(prompt, "Group photo"), 0]),
    ):
        prompt[key] = {"class_type": kind, "inputs": {put: link}, "_meta": {"title": title}}
    run = Run(server, prompt, server.run(prompt))

    found = run.text("Faces found").splitlines()
    assert found[0] == "photo 1 of 1, 3000x2171 px: 29 face(s) found"
    assert found[-1] == "faces 2-4, 6-29: not chosen"
    rows = {line.split()[0]: line for line in run.text("Who is who").splitlines()}
    assert rows["1"].endswith("restored blind (by hand)")
    assert rows["5"].endswith("restored as Anna (by hand)")
    done = "photo 1 of 1: faces 1, 5 pasted; faces 2-4, 6-29 left as they were"
    assert run.text("What was done") == done

    assert [face.shape for face in run.images("Restored faces")] == [(256, 256, 3)] * 2
    shown = ("Before", "Faces and their numbers", "After", "Mask")
    (before,), (numbered,), (after,), (mask,) = map(run.images, shown)
    assert numbered.shape == after.shape == mask.shape == (2171, 3000, 3)
    changed = (after != before).any(axis=-1)
    # What is hardly touched is 0 in a mask of 8 bits, two pixels off at the most.
    touched = np.asarray(Image.fromarray(mask[..., 0]).filter(ImageFilter.MaxFilter(5))) > 0
    assert 0 < touched.mean() < 0.02
    assert not changed[~touched].any()
    assert changed[mask[..., 0] == 255].mean() > 0.9


def test_batch_folder(server):
    """Three queued runs: a file that is no picture, a photo of Anna, a photo without a face."""
    photos, people = server.folder / "input" / "photos", server.folder / "input" / "people"
    photos.mkdir()
    people.mkdir()
    (photos / "1 broken.jpg").write_bytes(b"no picture")
    shutil.copy(server.folder / "input" / "degraded.png", photos / "2 grandma.png")
    wall = np.random.default_rng(0).integers(90, 110, (150, 200, 3)).astype(np.uint8)
    Image.fromarray(wall).save(photos / "3 wall.png")
    shutil.copy(server.folder / "input" / "anna.png", people / "Anna.png")
    shutil.copy(server.folder / "input" / "ben.png", people / "Ben.png")
    prompts = [small(api_form("restorerid_batch_folder")) for _ in range(3)]
    for index, prompt in enumerate(prompts):
        prompt[only(prompt, "RestorerIDPhotoFolder")]["inputs"]["index"] = index
    entries = [server.wait(each) for each in [server.submit(prompt) for prompt in prompts]]

    error = failure(entries[0])
    assert error["node_type"] == "RestorerIDPhotoFolder"
    assert "1 broken.jpg" in error["exception_message"]
    runs = [Run(server, p, e.get("outputs")) for p, e in zip(prompts, entries, strict=True)]
    _, grandma, plain = runs
    assert grandma.text("Which photograph") == "photo 2 of 3: 2 grandma.png, 512x512 px"
    assert "restored as Anna" in grandma.text("Who is who")
    assert grandma.text("What was done") == "photo 1 of 1: face 1 pasted"
    (restored,) = grandma.images("After")
    degraded = np.asarray(Image.open(photos / "2 grandma.png").convert("RGB"))
    assert restored.shape == degraded.shape
    assert (restored != degraded).any()

    assert "no face(s) found" in plain.text("Faces found")
    assert plain.text("What was done").endswith("left as it was, for it has no face to paste")
    assert (plain.images("After")[0] == wall).all()
    saved = {path.name for path in (server.folder / "output" / "RestorerID").iterdir()}
    assert {"2 grandma.png", "3 wall.png"} <= saved
    assert not any("broken" in name for name in saved)


def test_compare(server):
    """With a sweep of two ID-scales. The restored faces are noise, so their captions say so."""
    prompt = small(api_form("restorerid_compare"))
    prompt[only(prompt, "RestorerIDScaleSweep")]["inputs"]["values"] = "0, 1"
    run = Run(server, prompt, server.run(prompt))

    report = run.text("Similarity report")
    assert report.startswith("image 1, face 1: 0.")
    assert "image 2" in report
    (after,), (sheet,), (sweep,) = map(run.images, ("After", "Sheet", "Sweep"))
    assert after.shape == (256, 256, 3)
    assert len(run.images("Similarity")) == 2
    assert captioned(sheet, 3) == [True, True, False]  # before, after, reference
    assert captioned(sweep, 2) == [True, True]
    low, high = np.array_split(sweep[:CAPTIONS], 2, axis=1)
    assert (low != high).any()


def captioned(grid, columns):
    """Whether there is a text in the line of captions, for each image of a grid of one row."""
    assert len(grid) == CAPTIONS + 40
    return [bool(part.min() < 160) for part in np.array_split(grid[CAPTIONS:], columns, axis=1)]
