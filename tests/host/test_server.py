"""What a real ComfyUI server tells of the nodes, their help pages and the shipped workflows."""

from urllib.error import HTTPError

import pytest
from comfy_server import EXTENSION_FOLDER
from shipped_workflows import NAMES, api_form, to_api, ui_form, untitled
from test_node_inputs import OUTPUTS

pytestmark = pytest.mark.slow
NODES = {f"RestorerID{name}" for name in OUTPUTS}


@pytest.fixture(scope="module")
def definitions(server):
    return server.json("/object_info")


def test_nodes_are_listed_and_every_input_has_a_tooltip(definitions):
    ours = {name: d for name, d in definitions.items() if d["category"].startswith("RestorerID")}
    assert ours.keys() == NODES
    for name, definition in ours.items():
        assert definition["description"], name
        shown = [puts for kind, puts in definition["input"].items() if kind != "hidden"]
        for key, spec in (put for puts in shown for put in puts.items()):
            assert spec[1].get("tooltip"), f"{name}.{key} has no tooltip"


def test_help_pages(server):
    for node in sorted(NODES):
        try:
            page = server.get(f"/extensions/{EXTENSION_FOLDER}/docs/{node}.md").decode()
        except HTTPError as error:
            pytest.fail(f"no help page for {node}: {error}")
        assert page.startswith("# "), node


def test_templates_are_listed_and_served(server):
    assert sorted(server.json("/workflow_templates")[EXTENSION_FOLDER]) == NAMES
    for name in NAMES:
        served = server.json(f"/api/workflow_templates/{EXTENSION_FOLDER}/{name}.json")
        assert served == ui_form(name)


@pytest.mark.parametrize("name", NAMES)
def test_ui_and_api_forms_are_one_graph(definitions, name):
    assert to_api(ui_form(name), definitions) == untitled(api_form(name))
