"""The shipped workflows: reading them, and the API form that a UI form stands for."""

import json
from typing import Any

from helpers import ROOT

FOLDER = ROOT / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
NOTES = {"Note", "MarkdownNote"}
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


def ui_form(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


def api_form(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "api" / f"{name}.json").read_text())


def small(prompt: dict[str, Any], size: int = 256, steps: int = 2) -> dict[str, Any]:
    """The prompt with a smaller picture and fewer steps, for a CPU's sake."""
    for node in prompt.values():
        inputs = node["inputs"]
        changes = {"size": size, "steps": steps}
        inputs.update({key: value for key, value in changes.items() if key in inputs})
    return prompt


def untitled(prompt: dict[str, Any]) -> dict[str, Any]:
    """The prompt without the titles, which the server does not use."""
    return {key: {k: v for k, v in node.items() if k != "_meta"} for key, node in prompt.items()}


def only(prompt: dict[str, Any], node_class: str) -> str:
    """The id of the prompt's one node of a class."""
    (found,) = (key for key, node in prompt.items() if node["class_type"] == node_class)
    return found


def titled(prompt: dict[str, Any], title: str) -> str:
    """The id of the prompt's one node of a title."""
    (found,) = (key for key, node in prompt.items() if node["_meta"]["title"] == title)
    return found


def to_api(ui: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The API form of a UI form without titles, by the server's node definitions (/object_info)."""
    sources = {link[0]: [str(link[1]), link[2]] for link in ui["links"]}
    prompt = {}
    for node in ui["nodes"]:
        if node["type"] in NOTES:
            continue
        definition = definitions[node["type"]]
        inputs = {slot["name"]: sources[slot["link"]] for slot in node["inputs"] if slot["link"]}
        prompt[str(node["id"])] = {
            "inputs": widget_values(node, definition) | inputs,
            "class_type": node["type"],
        }
    return prompt


def widget_values(node: dict[str, Any], definition: dict[str, Any]) -> dict[str, Any]:
    """`widgets_values` by input name, linked ones too; the frontend's own widgets are left out."""
    values = iter(node.get("widgets_values", []))
    named = {}
    for group in ("required", "optional"):
        for name, spec in definition["input"].get(group, {}).items():
            options = spec[1] if len(spec) > 1 else {}
            is_widget = isinstance(spec[0], list) or spec[0] in WIDGETS
            if not is_widget or options.get("forceInput"):
                continue
            named[name] = next(values)
            if options.get("control_after_generate") or options.get("image_upload"):
                next(values)  # "randomize", or the upload button
    assert not list(values), f"{node['type']} has more widget values than widgets"
    return named
