"""Arguments that are refused before a command begins, with the nearest name for a typo."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from ..errors import RestorerIDError
from ..ranges import N, Range

DEVICES = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d{1,3})?")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in a line, where argparse shows how all is used."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register("type", Path, path)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"restorerid: {message}\nSee {self.prog} --help.\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Like argparse's, but names an unknown option first: it may be a misspelt required one."""
        if args is not None and self._subparsers is None:
            for text in takewhile(lambda text: text != "--", args):
                name = text.partition("=")[0]
                if name.startswith("--") and not any(o.startswith(name) for o in self._options()):
                    self.error(f"there is no option {name}{nearest(name, self._options())}")
        return super().parse_known_args(args, namespace)

    def _options(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings]

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(name) for name in action.choices]
            raise argparse.ArgumentError(
                action, f"is '{value}'; expected {', '.join(names)}{nearest(str(value), names)}"
            )


def path(text: str) -> Path:
    """Argparse's type of a path; of an empty text, as unset variables of a shell give it, pathlib
    makes the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"is '{text}'; expected a path")
    return Path(text)


def nearest(name: str, names: Iterable[str]) -> str:
    """Such as `: did you mean --steps?`; nothing where no name is like it."""
    found = get_close_matches(name, [*names], 1)
    return f": did you mean {found[0]}?" if found else ""


def number(limits: Range[N]) -> Callable[[str], N]:
    """Argparse's type of a number in a range."""

    def argument(text: str) -> N:
        try:
            return limits.read(text, "")
        except RestorerIDError as error:
            raise argparse.ArgumentTypeError(limits.refusal(text)) from error

    return argument


def device_name(text: str) -> str:
    """Argparse's type of a device; whether this machine has it, `open_device` finds out."""
    if not DEVICES.fullmatch(text):
        advice = ": a GPU of NVIDIA or AMD is cuda" if "gpu" in text.lower() else ""
        raise argparse.ArgumentTypeError(
            f"is '{text}'; expected auto, cpu, cuda, cuda:1, mps or xpu{advice}"
        )
    return text


def add_models(
    parser: argparse.ArgumentParser, more: str = "searched before the usual ones"
) -> None:
    """--models; `more` says what is done with them."""
    parser.add_argument(
        "--models",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help=f"folder laid out like ComfyUI's models, {more}: ComfyUI's, then ~/.restorerid/models",
    )


def add_device(parser: argparse.ArgumentParser, of: str = "") -> None:
    """--device, `auto` by default; `of` says what it is of."""
    parser.add_argument(
        "--device",
        type=device_name,
        default="auto",
        help=f"{of}auto, cpu, cuda, cuda:1, mps, xpu; default: %(default)s",
    )
