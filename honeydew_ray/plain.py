"""Anything that came from somebody else, as plain text that is safe to look at; nothing here runs code that it was sent."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from honeydew_ray import inert
from honeydew_ray.inert import StandInType

LINE_CHARS = 200
"""How long one line about something may be, unless the caller says otherwise."""

MAX_PICKLE_BYTES = 65_536
"""A larger pickle is not read, only measured."""

_ITEMS = 12
_DEPTH = 4
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # control, format (bidi marks), surrogates, unassigned, line ends


def printable(value: object, limit: int = LINE_CHARS, keep: str = "") -> str:
    """Text in which every character shows: control and format characters as ``\\x1b``, at most ``limit`` characters.

    ``keep`` names those that may stay, such as ``"\\n"``. Anything but a string is described first.

    >>> printable("a\\x1b[31m red")
    'a\\\\x1b[31m red'
    """
    text = value if isinstance(value, str) else describe(value, limit)
    shown = text[: limit + 1]
    if not shown.isascii() or not shown.isprintable():
        shown = "".join(char if char in keep or _is_seen(char) else _escaped(char) for char in shown)
    return shown if len(shown) <= limit else shown[: max(limit - 1, 0)] + "…"


def _is_seen(char: str) -> bool:
    return unicodedata.category(char) not in _UNSEEN


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def describe(value: object, limit: int = LINE_CHARS) -> str:
    """A value as one line: plain values as Python writes them, anything else by its type's name, deep and long ones cut.

    Calls no method of a class that is not Python's own.

    >>> describe({"top": [1, 2.5, None]})
    "{'top': [1, 2.5, None]}"
    """
    return _cut(_describe(value, _DEPTH), limit)


def describe_call(data: bytes, buffers: Sequence[Any] = (), limit: int = LINE_CHARS) -> str:
    """The arguments of a pickled call, as ``"img.png", top=3``, without running anything that the pickle names."""
    size = len(data) + sum(buffer.nbytes for buffer in buffers)
    if len(data) > MAX_PICKLE_BYTES:
        return f"<{size:,} bytes>"
    try:
        _, args, kwargs = inert.load(data)
        shown = [_describe(arg, _DEPTH) for arg in itertools.islice(args, _ITEMS)]
        shown += [f"{printable(name, 50)}={_describe(kwargs[name], _DEPTH)}" for name in itertools.islice(kwargs, _ITEMS)]
    except Exception:  # whatever the bytes are, they must not keep the rest from being shown
        return f"<{size:,} bytes that cannot be read>"
    text = ", ".join(shown) + (", …" if len(args) + len(kwargs) > len(shown) else "")
    return _cut(text, limit)


def describe_pickle(data: bytes, limit: int = LINE_CHARS) -> str:
    """A pickled value as one line, without running anything that the pickle names."""
    if len(data) > MAX_PICKLE_BYTES:
        return f"<{len(data):,} bytes>"
    try:
        return describe(inert.load(data), limit)
    except Exception:
        return f"<{len(data):,} bytes that cannot be read>"


def _describe(value: object, depth: int) -> str:
    kind = type(value)
    if kind in _WRITERS:
        return _WRITERS[kind](value)
    if isinstance(kind, StandInType):
        return f"<{printable(kind.__name__, 80)}>"
    if isinstance(value, StandInType):
        return printable(value.__name__, 80)
    if kind in _CONTAINERS:
        return "…" if depth <= 0 else _CONTAINERS[kind](value, depth - 1)
    return f"<{printable(f'{kind.__module__}.{kind.__qualname__}', 80)}>"


def _int(value: Any) -> str:
    return str(value) if value.bit_length() < 1000 else f"<int of {value.bit_length():,} bits>"


def _text(value: Any) -> str:
    return repr(value) if len(value) <= LINE_CHARS else f"{value[:LINE_CHARS]!r}…"


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    type(None): repr, bool: repr, float: repr, complex: repr, int: _int, str: _text, bytes: _text,
}


def _items(values: Any, depth: int) -> str:
    shown = ", ".join(_describe(item, depth) for item in itertools.islice(values, _ITEMS))
    return shown + (", …" if len(values) > _ITEMS else "")


def _dict(value: Any, depth: int) -> str:
    pairs = itertools.islice(value.items(), _ITEMS)
    shown = ", ".join(f"{_describe(key, depth)}: {_describe(item, depth)}" for key, item in pairs)
    return "{" + shown + (", …}" if len(value) > _ITEMS else "}")


def _set(value: Set[Any], depth: int) -> str:
    return "{" + _items(value, depth) + "}" if value else "set()"


_CONTAINERS: Mapping[type, Callable[[Any, int], str]] = {
    list: lambda value, depth: f"[{_items(value, depth)}]",
    tuple: lambda value, depth: f"({_items(value, depth)}{',' if len(value) == 1 else ''})",
    dict: _dict, set: _set, frozenset: _set,
}


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"
