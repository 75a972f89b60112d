"""A real ComfyUI server in a process of its own, with this extension and a folder of its own."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from full_models import full_models
from helpers import ROOT

EXTENSION_FOLDER = "comfyui-restorerid"
START_TIMEOUT = 120  # seconds
PHOTOS = {
    "degraded.png": "samples/2-lq1.png",
    "reference.png": "samples/2-ref1.png",
    "group.jpg": "solvay_1927.jpg",
    "anna.png": "samples/2-ref1.png",
    "ben.png": "samples/4-ref1.png",
}
"""What is in the input folder, from the folder of sample faces."""


class Server:
    """A running server; `folder` holds its models, input, output and log."""

    def __init__(self, url: str, folder: Path):
        self.url, self.folder = url, folder

    @property
    def log(self) -> str:
        """The last lines of the server's log, for failure messages."""
        return (self.folder / "server.log").read_text(errors="replace")[-4000:]

    def get(self, path: str) -> bytes:
        with urlopen(self.url + path, timeout=30) as response:
            return response.read()

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def submit(self, prompt: dict[str, Any]) -> str:
        """Queue a workflow in API form and return its id; a refusal fails the test."""
        body = json.dumps({"prompt": prompt}).encode()
        request = Request(self.url + "/prompt", body, {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=30) as response:
                reply = json.load(response)
        except HTTPError as error:
            pytest.fail(f"the prompt was refused: {error.read().decode()}")
        # ComfyUI accepts a prompt of which any output is valid, and lists the others' errors.
        assert not reply["node_errors"], reply["node_errors"]
        return reply["prompt_id"]

    def wait(self, prompt_id: str, timeout: float = 600) -> dict[str, Any]:
        """The history entry of a prompt when it has ended, well or not."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            history = self.json(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(0.2)
        pytest.fail(f"no result after {timeout} s; the server's log ends:\n{self.log}")

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """The outputs by node id of a workflow in API form; an error in it fails the test."""
        entry = self.wait(self.submit(prompt))
        assert entry["status"]["status_str"] == "success", entry["status"]["messages"]
        return entry["outputs"]


@contextmanager
def full_server(comfy: Path, faces: Path, folder: Path) -> Iterator[Server]:
    """A server on the CPU with full-size seeded models, and photos as the workflows name them.

    `folder` is its --base-directory, with the extension and the models linked.
    """
    for name in ("custom_nodes", "input", "output", "user"):
        (folder / name).mkdir(parents=True)
    (folder / "custom_nodes" / EXTENSION_FOLDER).symlink_to(ROOT)
    (folder / "models").symlink_to(full_models(faces))
    for name, photo in PHOTOS.items():
        shutil.copy(faces / photo, folder / "input" / name)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    command = [sys.executable, str(comfy / "main.py"), "--cpu", "--disable-api-nodes"]
    command += ["--listen", "127.0.0.1", "--port", port, "--base-directory", str(folder)]
    server = Server(f"http://127.0.0.1:{port}", folder)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(server, process)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            server.get("/system_stats")
            return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"the server did not start; its log ends:\n{server.log}")
