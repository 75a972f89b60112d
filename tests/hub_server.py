"""As much of the Hugging Face Hub as a download needs, on 127.0.0.1."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Request(NamedTuple):
    """What the server was asked."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class Hub:
    """Files by `owner/name/path`, and what goes wrong with them.

    Args:
        status: answers with this status instead.
        cut: bytes of a file after which the connection ends, whenever it is asked for them.
        checksum: given out instead of the right sha256.
        pause: seconds after each 64 KiB.
    """

    files: dict[str, bytes]
    status: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    checksum: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    @property
    def store(self) -> str:
        """Where the hub sends downloads: another host, as far as a client can tell."""
        return self.url.replace("127.0.0.1", "localhost")

    def asked(self, method: str, path: str = "") -> list[Request]:
        return [r for r in self.requests if r.method == method and path in r.path]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, *args, **kwargs):
        self.hub = hub
        super().__init__(*args, **kwargs)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""

    def do_HEAD(self) -> None:
        self._note()
        name = re.sub("/resolve/[^/]+/", "/", self.path.removeprefix("/"))
        status = self.hub.status.get(name, 302 if name in self.hub.files else 404)
        headers = {"Content-Length": "0"}
        if status == 302:
            content = self.hub.files[name]
            digest = self.hub.checksum.get(name, hashlib.sha256(content).hexdigest())
            headers |= {
                "Location": f"{self.hub.store}/store/{name}",
                "X-Repo-Commit": "0" * 40,
                "X-Linked-Size": str(len(content)),
                "X-Linked-ETag": f'"{digest}"',
            }
        self._head(status, headers)

    def do_GET(self) -> None:
        if not self.path.startswith("/store/"):
            return self.do_HEAD()
        self._note()
        name = self.path.removeprefix("/store/")
        content = self.hub.files[name]
        start = int((self.headers["Range"] or "bytes=0-")[len("bytes=") : -1])
        headers = {"Content-Length": str(len(content) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if start else 200, headers)
        self._send(content[start : self.hub.cut.get(name)])
        self.close_connection = name in self.hub.cut

    def _send(self, content: bytes) -> None:
        for place in range(0, len(content), 2**16):
            self.wfile.write(content[place : place + 2**16])
            time.sleep(self.hub.pause)

    def _note(self) -> None:
        wanted = self.headers["Range"], self.headers["Authorization"]
        self.hub.requests.append(Request(self.command, self.path, *wanted))

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
