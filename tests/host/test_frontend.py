"""Each workflow opens in ComfyUI's own frontend from its Templates, complete, tidy and readable.

Screenshots are of 1920x1080 px, as the frontend fits a template by itself; they go to
$RESTORERID_SCREENSHOTS when it is set.
"""

import itertools
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from browser import open_browser
from comfy_server import EXTENSION_FOLDER
from PIL import Image
from shipped_workflows import NAMES, NOTES, api_form, ui_form, untitled

pytestmark = pytest.mark.slow

TITLE, GROUP_TITLE = 30, 34  # pixels
WIDTH, HEIGHT = 1920, 1080
LIGHT, INK = 90, 0.01
"""Of the pixels of a line of text at least so many are this light; no ground of a node is."""
READY = "window.app?.vueAppReady && window.app.graph"
NOTE_HEIGHTS = """
    [...document.querySelectorAll(".comfy-markdown .tiptap, .comfy-markdown-content")].map(
        note => {
            const zoom = window.app.canvas.ds.scale, box = note.getBoundingClientRect();
            const end = note.lastElementChild.getBoundingClientRect().bottom;
            return [(end - box.top) / zoom, box.height / zoom];
        })
"""
CROPPED = "window.app.graph.nodes.filter(n => n.size[1] < n.computeSize()[1]).map(n => n.type)"
BROKEN = """
    window.app.graph.nodes.filter(
        n => n.has_errors || !(n.type in LiteGraph.registered_node_types)).map(n => n.type)
"""
VIEW = """
    (() => {
        const {scale, offset} = window.app.canvas.ds;
        const {left, top} = window.app.canvas.canvas.getBoundingClientRect();
        return [scale, left + offset[0] * scale, top + offset[1] * scale];
    })()
"""
UNFOLD = "window.app.graph.nodes.filter(n => n.flags.collapsed).forEach(n => n.collapse())"


class Box(NamedTuple):
    """A rectangle, y downwards."""

    name: str
    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def overlaps(self, other: "Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: "Box") -> bool:
        across = self.left <= other.left and other.right <= self.right
        return across and self.top + GROUP_TITLE <= other.top and other.bottom <= self.bottom


@pytest.fixture
def page(server, tmp_path):
    """A new browser, so that no workflow of an earlier visit is restored."""
    with open_browser(tmp_path, WIDTH, HEIGHT) as page:
        yield page


def visit(page, server, query="", modern=False):
    """Open the frontend as a user who has been there before, with classic or modern nodes."""
    folder = server.folder / "user" / "default"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": modern}
    (folder / "comfy.settings.json").write_text(json.dumps(settings))
    page.open(f"{server.url}/{query}")
    page.wait_for(READY)


def opened(page, name):
    """The graph as the frontend would save it, when the workflow is open and drawn."""
    count = len(ui_form(name)["nodes"])
    page.wait_for(f"{READY} && window.app.graph.nodes.length === {count}")
    return settled(page)


def settled(page):
    before, graph = None, {}
    while graph != before:  # modern nodes take their size after they are drawn
        time.sleep(2)
        before, graph = graph, page.evaluate("window.app.graph.serialize()")
    return graph


def node_box(node):
    (left, top), (width, height) = node["pos"], node["size"]
    if node["flags"].get("collapsed"):
        height = 0
    return Box(f"{node['type']} {node['id']}", left, top - TITLE, width, height + TITLE)


def take_screenshot(page, tmp_path: Path, file):
    """(H, W) in [0, 255]."""
    folder = Path(os.environ.get("RESTORERID_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(folder / file)
    return np.asarray(Image.open(folder / file).convert("L"))


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "modern"])
@pytest.mark.parametrize("name", NAMES)
def test_workflow_opens(page, server, tmp_path, name, modern):
    visit(page, server, f"?template={name}&source={EXTENSION_FOLDER}", modern)
    graph = opened(page, name)
    picture = take_screenshot(page, tmp_path, f"{name}{'_modern' if modern else ''}.png")

    check_readable(picture, graph, *page.evaluate(VIEW))
    check_complete(page, graph, name)
    check_tidy(graph)
    page.evaluate(UNFOLD)  # notes then lie over the graph
    settled(page)
    for content, room in page.evaluate(NOTE_HEIGHTS):
        assert 0 < content <= room, "a note is too small on the screen, or has to be scrolled"
    if not modern:  # where a node may be smaller than its content
        assert page.evaluate(CROPPED) == []


def check_readable(picture, graph, scale, left, top):
    """The titles of all nodes and the first lines of open notes are drawn, inside of the window."""
    for node in graph["nodes"]:
        box = node_box(node)
        lines = [(box.left + TITLE, box.top + 4, min(box.width - TITLE, 110), TITLE - 8)]
        if node["type"] in NOTES and not node["flags"].get("collapsed"):
            lines.append((box.left + 12, box.top + TITLE + 10, box.width - 24, 80))
        for x, y, width, height in lines:
            window = [left + x * scale, top + y * scale, width * scale, height * scale]
            x, y, width, height = (round(value) for value in window)
            inside = min(x, y) >= 0 and x + width <= WIDTH and y + height <= HEIGHT
            assert inside, f"{box.name} is out of the window"
            seen = picture[y : y + height, x : x + width]
            assert (seen > LIGHT).mean() > INK, f"no text on {box.name} at a zoom of {scale:.0%}"


def check_complete(page, graph, name):
    """No node, link or widget value is missing, and the frontend would queue the API form."""
    file = ui_form(name)
    assert page.evaluate(BROKEN) == []
    assert page.evaluate("document.querySelectorAll('[role=dialog]').length") == 0
    for key in ("type", "widgets_values"):
        assert [n.get(key, []) for n in graph["nodes"]] == [n.get(key, []) for n in file["nodes"]]
    assert sorted(graph["links"]) == sorted(file["links"])
    queued = page.evaluate("window.app.graphToPrompt().then(prompt => prompt.output)")
    assert untitled(queued) == untitled(api_form(name))


def check_tidy(graph):
    """Nothing overlaps, groups hold whole nodes, and no link runs back to a column on the left."""
    nodes = {node["id"]: node_box(node) for node in graph["nodes"]}
    groups = [Box(group["title"], *group["bounding"]) for group in graph["groups"]]
    for boxes in (list(nodes.values()), groups):
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other), f"{one.name} overlaps {other.name}"
    types = {node["id"]: node["type"] for node in graph["nodes"]}
    for key, node in nodes.items():
        inside = [group for group in groups if group.holds(node)]
        assert bool(inside) != (types[key] in NOTES), f"{node.name} is in no group of its own"
        for group in set(groups) - set(inside):
            assert not group.overlaps(node), f"{node.name} crosses the edge of '{group.name}'"
    for _, source, _, target, *_ in graph["links"]:
        assert nodes[source].left <= nodes[target].left, (nodes[source], nodes[target])


def test_templates_browser_opens_a_workflow(page, server, tmp_path):
    visit(page, server)
    page.evaluate("window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    click(page, EXTENSION_FOLDER)
    take_screenshot(page, tmp_path, "templates.png")
    click(page, "restorerid_ksampler")
    assert opened(page, "restorerid_ksampler")["nodes"]


def click(page, label):
    """Click the element of the open dialog that shows just this text."""
    find = (
        "[...document.querySelectorAll('[role=dialog] *')].find(e => e.children.length === 0"
        f" && e.textContent.trim() === {json.dumps(label)})"
    )
    page.wait_for(find)
    time.sleep(1)  # the dialog slides in
    page.evaluate(f"{find}.click()")
