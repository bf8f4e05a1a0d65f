"""How the command ``honeydew`` is spoken to and answers."""

from __future__ import annotations

import json
from typing import Any

from rich.console import RenderableType

from honeydew_ray import plain, terminal
from honeydew_ray.errors import HoneydewError


class Refused(HoneydewError):
    """What was asked for was understood and not done; the message says why."""


def parsed(what: str, text: str) -> Any:
    """What a person typed as JSON. Raises `Refused`, which names ``what`` it was to be."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what} was {plain.describe(text)}, expected JSON, such as 3 or '\"img.png\"' ({error})") from None


def report(as_json: bool, data: dict[str, Any], text: str) -> None:
    """What was done: data for programs, a line of text for people."""
    if as_json:
        print_json(data)
    else:
        say(text)


def print_json(data: Any, indent: int | None = 2) -> None:
    """Data for programs; what JSON does not have is described."""
    print(json.dumps(data, indent=indent, default=plain.describe))


def say(text: str) -> None:
    """A line for people, in which every character shows."""
    print(plain.printable(text, 2000))


def show(what: RenderableType) -> None:
    """Something that is laid out for the terminal."""
    terminal.console().print(what)
