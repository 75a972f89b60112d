"""Files of the Hugging Face Hub: taken up where they stopped, checked before they appear."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import RestorerIDError
from ..run_folder import SHA256, sha256_of

log = logging.getLogger(__name__)


class HubUnreachableError(RestorerIDError):
    """There is no way to the hub from here."""


@dataclass(frozen=True)
class HubFile:
    """A file of a model repository.

    Args:
        to: its place below a models folder.
        size: in bytes, for what is said before the hub is asked.
        sha256: of the file that is meant, all its digits; "" where none is known.
        revision: the state of the repository that is meant, by its commit.
    """

    repo: str
    path: str
    to: str
    licence: str
    size: int
    sha256: str = ""
    revision: str = "main"

    @property
    def name(self) -> str:
        return PurePosixPath(self.to).name

    @property
    def url(self) -> str:
        """At $HF_ENDPOINT, when that is set."""
        from huggingface_hub import hf_hub_url

        mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
        return hf_hub_url(self.repo, self.path, revision=self.revision, endpoint=mirror or None)


@dataclass(frozen=True)
class Offer:
    """What the hub holds under a file's name: bytes, and their sha256."""

    size: int
    sha256: str

    def staged(self, file: HubFile, staging: Path) -> tuple[Path, Path]:
        """Where the file is whole and checked, and where it grows."""
        whole = staging / self.sha256[:16] / file.name
        return whole, whole.with_name(f"{file.name}.part")


def look_up(file: HubFile) -> Offer:
    """Asks the hub, with $HF_TOKEN or the token of a login, for size and checksum.

    Raises:
        HubUnreachableError: no answer, or none of a hub's.
        RestorerIDError: the file is not there, not for everyone, or another than the one meant.
    """
    from huggingface_hub import get_hf_file_metadata

    try:
        metadata = get_hf_file_metadata(file.url, token=token_for(file.url))
    except Exception as error:  # of whichever HTTP library the hub's version is built on
        raise _explained(error, file, "the hub cannot be reached") from error
    sha256 = metadata.etag or ""
    if metadata.size is None or not SHA256.fullmatch(sha256):
        raise HubUnreachableError(
            f"{file.url} was answered without a size and a sha256, so that is not the hub: log in "
            "to the network if it asks for that, or correct HF_ENDPOINT."
        )
    if file.sha256 and sha256 != file.sha256:
        raise RestorerIDError(
            f"{file.path} of {file.repo} has the sha256 {sha256}; expected {file.sha256}: it was "
            "replaced there, so update RestorerID or get the file elsewhere."
        )
    return Offer(metadata.size, sha256)


def download(file: HubFile, offer: Offer, staging: Path) -> Path:
    """The checked file in a folder of its own below `staging`; what is there already is kept.

    `hf_hub_download` is not used: in huggingface_hub 2 it deletes what came when it is interrupted.

    Raises:
        RestorerIDError: the connection broke (what came is kept), or the checksum is wrong.
        OSError: the disk is full or cannot be written.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    headers = build_hf_headers(token=token_for(file.url))
    whole, part = offer.staged(file, staging)
    if whole.is_file():
        return whole
    part.parent.mkdir(parents=True, exist_ok=True)
    if part.is_file() and part.stat().st_size > offer.size:
        part.unlink()  # two runs wrote to it at the same time
    try:
        with part.open("ab") as stream:
            http_get(
                file.url,
                stream,
                resume_size=stream.tell(),
                headers=headers,
                expected_size=offer.size,
                displayed_filename=file.name,
            )
    except Exception as error:  # as above
        raise _explained(error, file, f"the connection broke while {file.name} came") from error
    log.info("checking %s", file.name)
    found = sha256_of(part)
    if found != offer.sha256:
        part.unlink()
        raise RestorerIDError(
            f"{file.name} came with the sha256 {found}; expected {offer.sha256}: it was damaged on "
            "the way and is deleted, so run this again, or without the proxy or mirror."
        )
    os.replace(part, whole)
    return whole


def token_for(url: str) -> bool | None:
    """huggingface_hub's `token`: None is $HF_TOKEN or that of a login, and False is none.

    What goes over http can be read on the way, so no token does.
    """
    return None if url.startswith("https://") else False


def _explained(error: Exception, file: HubFile, problem: str) -> Exception:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return RestorerIDError(
            f"{file.repo} is closed to this account (HTTP {status}): open its page, accept what it "
            "asks for, and set HF_TOKEN to a valid token of your account."
        )
    if status == 404:
        return RestorerIDError(
            f"{file.path} is not in {file.repo} (HTTP 404): it was moved or deleted, so update "
            "RestorerID or get the file elsewhere."
        )
    if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
        return error  # the disk's
    reason = f"HTTP {status}" if status else type(error).__name__
    return HubUnreachableError(
        f"{problem} ({reason} at {file.url}): run this again later, set HTTPS_PROXY or HF_ENDPOINT "
        "if you use a proxy or a mirror, or get the files of the table on another machine, copy "
        "them to where it says and run this again."
    )
