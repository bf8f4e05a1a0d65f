"""Pieces of HTML for notebooks. Whatever is shown is escaped, and its control characters are made visible."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from honeydew_ray.plain import printable

_GREY, _LINE = "#6b7280", "#d1d5db"
_COLOURS = {
    "done": "#15803d", "idle": "#15803d", "in_progress": "#0369a1", "busy": "#0369a1", "delayed": "#a16207", "pending": "#a16207",
    "starting": "#a16207", "draining": "#a16207", "abandoned": "#b91c1c", "failed_init": "#b91c1c", "suspended": "#a16207",
    "moved": _GREY, "cancelled": _GREY,
}


@dataclass(frozen=True, slots=True)
class Markup:
    """Text that is HTML already."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def escape(value: object, limit: int = 200) -> Markup:
    """Anything as text that HTML shows as it is."""
    return Markup(html.escape(printable(value, limit)))


def join(parts: Iterable[object]) -> Markup:
    """Pieces one after the other; those that are not markup are escaped."""
    return Markup("".join((part if isinstance(part, Markup) else escape(part)).html for part in parts))


def badge(state: object) -> Markup:
    """A state, in its colour."""
    colour = _COLOURS.get(str(state), _GREY)
    return Markup(f'<span style="color:{colour};font-weight:600">{escape(state).html}</span>')


def note(text: object, colour: str = _GREY) -> Markup:
    """A line beside the matter."""
    return Markup(f'<span style="color:{colour}">{escape(text, 1000).html}</span>')


def mistake(text: object) -> Markup:
    """A line about something that went wrong."""
    return note(text, _COLOURS["abandoned"])


def preformatted(text: str) -> Markup:
    """Several lines, such as a traceback, folded away."""
    body = html.escape(printable(text, 20_000, keep="\n"))
    return Markup(f'<details><summary style="color:{_GREY}">traceback</summary><pre style="font-size:12px">{body}</pre></details>')


def heading(title: object, *beside: object) -> Markup:
    """What the whole is about."""
    return Markup(f'<div style="margin:2px 0"><b>{escape(title).html}</b> {join(beside).html}</div>')


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """Rows of cells under their names."""
    cell = f'style="text-align:left;padding:2px 12px 2px 0;border-bottom:1px solid {_LINE}"'
    head = "".join(f"<th {cell}>{escape(name).html}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td {cell}>{join([item]).html}</td>" for item in row) + "</tr>" for row in rows)
    return Markup(f'<table style="border-collapse:collapse;font-size:13px"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Names and what they stand for, one pair a line."""
    rows = "".join(
        f'<tr><td style="text-align:left;padding:1px 12px 1px 0;color:{_GREY}">{escape(name).html}</td>'
        f'<td style="text-align:left;padding:1px 0">{join([value]).html}</td></tr>' for name, value in pairs)
    return Markup(f'<table style="border-collapse:collapse;font-size:13px"><tbody>{rows}</tbody></table>')


def box(*parts: object) -> Markup:
    """Pieces below each other, with a line around them."""
    inner = "".join(join([part]).html for part in parts)
    style = f"border:1px solid {_LINE};border-radius:6px;padding:6px 12px;display:inline-block;font-family:sans-serif;font-size:13px"
    return Markup(f'<div style="{style}">{inner}</div>')


def bar(done: int, failed: int, total: int | None, width_px: int = 240) -> Markup:
    """How far so many things are: done in green, failed in red, out of ``total``, if that is known."""
    whole = max(total if total is not None else done + failed, 1)
    parts = "".join(
        f'<span style="display:inline-block;height:10px;width:{round(width_px * min(count / whole, 1.0))}px;background:{colour}"></span>'
        for count, colour in ((done, _COLOURS["done"]), (failed, _COLOURS["abandoned"])))
    style = f"display:inline-flex;width:{width_px}px;height:10px;background:{_LINE};border-radius:3px;overflow:hidden;vertical-align:middle"
    return Markup(f'<span style="{style}">{parts}</span>')


def chart(values: Sequence[float], colour: str = "#0369a1", width_px: int = 240, height_px: int = 36) -> Markup:
    """A line through some values, oldest first, from 0 to the largest."""
    if len(values) < 2:
        return Markup(f'<svg width="{width_px}" height="{height_px}"></svg>')
    most = max(*values, 1e-9)
    step = width_px / (len(values) - 1)
    points = " ".join(f"{index * step:.1f},{height_px - 1 - value / most * (height_px - 2):.1f}" for index, value in enumerate(values))
    line = f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    return Markup(f'<svg width="{width_px}" height="{height_px}" style="vertical-align:middle">{line}</svg>')
