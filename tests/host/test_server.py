"""A real ComfyUI server runs the shipped workflows on full-size networks with seeded weights."""
import io
import json
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
from comfy_server import EXTENSION_FOLDER, Server
from PIL import Image
from shipped_workflows import NAMES, api_form, only, small, to_api, ui_form, untitled

pytestmark = pytest.mark.slow

NODES = {
    "RestorerIDLoader", "RestorerIDLQEncode", "RestorerIDFaceEmbed", "RestorerIDAutoScale",
    "RestorerIDApply", "RestorerIDSchedule", "RestorerIDColorFix", "RestorerIDFaceCrop",
    "RestorerIDMatchFaces", "RestorerIDFacePaste", "RestorerIDFaceSimilarity",
    "RestorerIDReference", "RestorerIDReferenceFolder", "RestorerIDPhotoFolder",
    "RestorerIDScaleSweep", "RestorerIDGrid",
}  # fmt: skip


@pytest.fixture(scope="module")
def definitions(server: Server) -> dict[str, Any]:
    return server.json("/object_info")


def picture(server: Server, image: dict[str, str]) -> np.ndarray:
    query = "&".join(f"{key}={value}" for key, value in image.items())
    return np.asarray(Image.open(io.BytesIO(server.get(f"/view?{query}"))).convert("RGB"))


def test_nodes_are_listed_and_every_input_has_a_tooltip(definitions: dict[str, Any]):
    ours = {name: d for name, d in definitions.items() if d["category"].startswith("RestorerID")}
    assert ours.keys() == NODES
    for name, definition in ours.items():
        assert definition["description"], name
        for inputs in definition["input"].values():
            for key, spec in inputs.items():
                assert spec[1].get("tooltip"), f"{name}.{key} has no tooltip"


@pytest.mark.parametrize("node", sorted(NODES))
def test_help_page(server: Server, node: str):
    try:
        page = server.get(f"/extensions/{EXTENSION_FOLDER}/docs/{node}.md").decode()
    except HTTPError as error:
        pytest.fail(f"no help page for {node}: {error}")
    assert page.startswith("# ")


def test_templates_are_listed_and_served(server: Server):
    assert sorted(server.json("/workflow_templates")[EXTENSION_FOLDER]) == NAMES
    for name in NAMES:
        served = server.json(f"/api/workflow_templates/{EXTENSION_FOLDER}/{name}.json")
        assert served == ui_form(name)


@pytest.mark.parametrize("name", NAMES)
def test_ui_and_api_forms_are_one_graph(definitions: dict[str, Any], name: str):
    assert to_api(ui_form(name), definitions) == untitled(api_form(name))


@pytest.mark.parametrize("name", NAMES)
def test_workflow_runs(server: Server, name: str):
    """At 256 px and 2 steps; every network and every file is of full size."""
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
    previews = [outputs[key]["images"][0] for key, node in prompt.items()
                if node["class_type"] == "PreviewImage"]  # fmt: skip
    assert {picture(server, image).shape for image in previews} == {(224, 224, 3), (256, 256, 3)}


def test_no_face_is_explained_and_the_queue_goes_on(server: Server):
    photo = server.folder / "input" / "wall.png"
    Image.new("RGB", (320, 240), (120, 110, 100)).save(photo)
    bad = small(api_form("restorerid_ksampler"))
    (reference,) = (n for n in bad.values() if n["inputs"].get("image") == "reference.png")
    reference["inputs"]["image"] = photo.name
    good = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "degraded.png"}},
        "2": {"class_type": "RestorerIDColorFix",
              "inputs": {"image": ["1", 0], "source": ["1", 0], "method": "adain"}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }  # fmt: skip
    first, second = server.submit(bad), server.submit(good)

    status = server.wait(first)["status"]
    (error,) = (data for event, data in status["messages"] if event == "execution_error")
    assert error["node_type"] == "RestorerIDFaceEmbed"
    assert "reference image 1 of 1" in error["exception_message"], json.dumps(error)
    assert "no face" in error["exception_message"].lower()
    assert server.wait(second)["status"]["status_str"] == "success"
