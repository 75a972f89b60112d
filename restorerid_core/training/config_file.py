"""Configurations from JSON or TOML, each fault told in one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import RestorerIDError

T = TypeVar("T")
NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    NoneType: "null",
}


def read_config(path: Path, kind: type[T], preset: Mapping[str, object]) -> T:
    """A frozen dataclass `kind` from a .json or .toml file.

    Args:
        preset: values in place of the dataclass's defaults; the file's go before them.
    Raises:
        RestorerIDError: the file cannot be read, a key is unknown or missing, or a value has
            another type or is out of range.
    """
    values = _read(path)
    try:
        return build_config(kind, {**preset, **values})
    except RestorerIDError as error:
        raise RestorerIDError(f"'{path}' cannot be used: {error}") from error


def build_config(kind: type[T], values: Mapping[str, object], place: str = "") -> T:
    """Like `read_config`, from a dict; `place` names what the keys belong to, for messages."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise RestorerIDError(
                f"`{place}{key}` is no setting; expected one of {', '.join(known)}: correct its "
                "name or take it out."
            )
    for name, field in known.items():
        if name not in values and field.default is field.default_factory is MISSING:
            raise RestorerIDError(f"`{place}{name}` is missing; expected {_help(kind, name)}.")
    hints = get_type_hints(kind)
    return kind(**{key: _value(hints[key], value, place + key) for key, value in values.items()})


def plain(config: Any) -> dict[str, Any]:
    """The configuration as JSON can hold it, and as `build_config` takes it back."""
    return json.loads(json.dumps(asdict(config), default=str))


def _help(kind: type[Any], name: str) -> str:
    hint = get_type_hints(kind)[name]
    return f"{NAMES.get(hint, 'a table')}: add it to the configuration"


def _value(hint: Any, value: object, place: str) -> Any:
    if is_dataclass(hint) and isinstance(value, Mapping):
        return build_config(hint, value, f"{place}.")  # type: ignore[arg-type]
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for kind in kinds:
        if get_origin(kind) is Literal and value in get_args(kind):
            return value
        if kind is Path and isinstance(value, str):
            return Path(value)
        if type(value) is int and abs(value) > sys.maxsize:
            continue  # of any number of digits
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is kind:
            return value
        if get_origin(kind) is tuple and isinstance(value, (list, tuple)):
            return tuple(_value(get_args(kind)[0], item, f"{place}[]") for item in value)
    expected = " or ".join(_named(kind) for kind in kinds)
    raise RestorerIDError(
        f"`{place}` is {repr(value)[:80]}; expected {expected}: change it in the configuration."
    )


def _named(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        return f"a list of {NAMES.get(get_args(kind)[0], 'values')}"
    return NAMES.get(kind, "a table of settings")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RestorerIDError(
            f"There is no configuration '{path}'; expected a file with settings in JSON or TOML: "
            "correct the path, or write one (docs/training.md shows how)."
        )
    try:
        text = path.read_text(encoding="utf-8")
        values = _toml(text) if path.suffix == ".toml" else json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"it holds {type(values).__name__}, not settings by name")
    except (OSError, ValueError, RecursionError) as error:
        raise RestorerIDError(
            f"The configuration '{path}' cannot be read ({error}); expected settings in JSON, or "
            "in TOML when its name ends in .toml: correct the file."
        ) from error
    return values


def _toml(text: str) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError as error:  # Python 3.10
        raise ValueError("TOML needs Python 3.11 or newer, so write it as JSON") from error
    return tomllib.loads(text)
