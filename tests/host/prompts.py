"""Runs a workflow in ComfyUI's own executor, in this process: its lists, its cache, its errors."""

import asyncio
from importlib import import_module
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest


class Prompts:
    """A workflow under construction, and an executor that remembers earlier runs of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        import execution

        self.mappings: dict[str, Any] = {}
        monkeypatch.setattr(import_module("nodes"), "NODE_CLASS_MAPPINGS", self.mappings)
        server = SimpleNamespace(client_id=None, last_node_id=None, send_sync=lambda *_: None)
        self.executor = execution.PromptExecutor(
            server, execution.CacheType.CLASSIC, {"lru": 0, "ram": 0, "ram_inactive": 0}
        )
        self.prompt: dict[str, dict[str, Any]] = {}
        self.ids = count(1)

    def add(self, node: Any, **inputs: Any) -> str:
        """The id of a new node; an input may be [id, output]."""
        self.mappings[node.__name__] = node
        number = str(next(self.ids))
        self.prompt[number] = {"class_type": node.__name__, "inputs": inputs}
        return number

    def source(self, *lists: list[Any]) -> str:
        """A node with each list as an output."""

        class Source:
            RETURN_TYPES = ("*",) * len(lists)
            OUTPUT_IS_LIST = (True,) * len(lists)
            FUNCTION = "give"

            @classmethod
            def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
                return {}

            def give(self) -> tuple[list[Any], ...]:
                return lists

        return self.add(Source)

    def validate(self, node: str) -> str:
        """What ComfyUI says of the node before it queues the prompt; nothing where all is well."""
        import execution

        _, errors, _ = asyncio.run(execution.validate_inputs("run", self.prompt, node, {}))
        return " ".join(error["details"] for error in errors)

    def run(self, node: str) -> list[Any]:
        """The outputs of the node: for each a list, of one value unless it ran several times.

        Raises:
            AssertionError: a node failed; the text is what the user reads.
        """
        prompt = {number: {**entry} for number, entry in self.prompt.items()}
        asyncio.run(self.executor.execute_async(prompt, "run", {}, [node]))
        for event, data in self.executor.status_messages:
            assert event != "execution_error", data["exception_message"]
        return asyncio.run(self.executor.caches.outputs.get(node)).outputs

    @property
    def cached(self) -> list[str]:
        """The nodes that the last run took from the cache."""
        return dict(self.executor.status_messages)["execution_cached"]["nodes"]


def run_on_lists(node: Any, **inputs: list[Any]) -> list[list[Any]]:
    """The node's outputs as ComfyUI's executor makes them; every input is a list."""
    import execution

    return asyncio.run(execution.get_output_data("prompt", "node", node, inputs))[0]
