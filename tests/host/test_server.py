"""What a real ComfyUI server tells of the nodes, their help pages and the shipped workflows."""

from typing import Any
from urllib.error import HTTPError

import pytest
from comfy_server import EXTENSION_FOLDER, Server
from shipped_workflows import NAMES, api_form, to_api, ui_form, untitled

pytestmark = pytest.mark.slow

NODES = {
    "RestorerIDLoader",
    "RestorerIDLQEncode",
    "RestorerIDFaceEmbed",
    "RestorerIDAutoScale",
    "RestorerIDApply",
    "RestorerIDSchedule",
    "RestorerIDColorFix",
    "RestorerIDFaceCrop",
    "RestorerIDMatchFaces",
    "RestorerIDFacePaste",
    "RestorerIDFaceSimilarity",
    "RestorerIDReference",
    "RestorerIDReferenceFolder",
    "RestorerIDPhotoFolder",
    "RestorerIDScaleSweep",
    "RestorerIDGrid",
    "RestorerIDMetrics",
    "RestorerIDDegrade",
}


@pytest.fixture(scope="module")
def definitions(server: Server) -> dict[str, Any]:
    return server.json("/object_info")


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
