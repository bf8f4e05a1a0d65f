"""A queue's past, drawn."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from honeydew_ray.attempts import Attempt, Past, slot_of
from honeydew_ray.events import EventKind

_ABSENT = "a timeline's figure needs matplotlib, which is not installed: pip install 'honeydew-ray[plot]'"
_COLOURS = {
    "succeeded": "#3a9e75", "failed": "#e0862e", "crashed": "#c8373a", "redelivered": "#7d5ba6", "recalled": "#c9c9c9",
    "cancelled": "#8c8c8c", "running": "#5b9bd5",
}
_MARKS = {  # of what follows an attempt: marker, colour, what the legend says
    EventKind.WORKER_DIED: ("X", "#8c1015", "worker died"),
    EventKind.RETRYING: ("$\\circlearrowright$", "#b35c00", "to be retried"),
    EventKind.MOVED: (">", "#35508f", "moved"),
    EventKind.ABANDONED: ("s", "#4a4a4a", "abandoned"),
}
_LABELLED = 60
"""With more attempts than this, bars have no text in them."""

_MOST_ARROWS = 200
_ROW = 0.42  # of the height of a row: half a bar


def draw(past: Past, width: float) -> Any:
    """A matplotlib figure, ``width`` inches wide. Raises ``ModuleNotFoundError`` without the extra ``plot``."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_ABSENT, name=error.name) from None
    rows = _rows(past)
    height = min(max(len(rows), 1), 60) * 0.32 + 2.4
    figure: Any = Figure(figsize=(width, height), layout="constrained")
    lanes, depth = figure.subplots(2, 1, sharex=True, height_ratios=[max(len(rows), 1) * 0.32 + 0.3, 1.1])
    _title(lanes, past)
    if past.attempts or past.news:
        _bars(lanes, past, rows)
        _arrows(lanes, past, rows)
        _marks(lanes, past, rows)
        _depth(depth, past)
        _legend(lanes)
    else:
        lanes.text(0.5, 0.5, "nothing has happened yet", transform=lanes.transAxes, ha="center", va="center", color="#777777")
    _axes(lanes, depth, past, rows)
    return figure


def _rows(past: Past) -> dict[tuple[str, int], int]:
    """The row of each lane of each worker's place, from the top."""
    lanes = {(slot_of(attempt.worker), attempt.lane) for attempt in past.attempts}
    lanes |= {(slot, 0) for slot in past.slots}
    order = {slot: number for number, slot in enumerate(past.slots)}
    return {lane: row for row, lane in enumerate(sorted(lanes, key=lambda lane: (order.get(lane[0], 0), lane)))}


def _look(attempt: Attempt) -> str:
    return "crashed" if attempt.crashed and attempt.outcome == "failed" else attempt.outcome


def _bars(axes: Any, past: Past, rows: dict[tuple[str, int], int]) -> None:
    from matplotlib.collections import PolyCollection

    span = max(past.end - past.begin, 1e-6)
    corners: dict[str, list[list[tuple[float, float]]]] = defaultdict(list)
    for attempt in past.attempts:
        row = rows[slot_of(attempt.worker), attempt.lane]
        begin, end = attempt.started_at - past.begin, attempt.ended_at - past.begin
        end = max(end, begin + span / 1500)  # so that the shortest can be seen
        low, high = row - _ROW, row + _ROW
        corners[_look(attempt)].append([(begin, low), (begin, high), (end, high), (end, low)])
        if len(past.attempts) <= _LABELLED and end - begin > span * 0.07:
            text = f"{attempt.method} {attempt.number}" if attempt.number > 1 else attempt.method
            most = int((end - begin) / span * 90)
            axes.text((begin + end) / 2, row, shown(text, most), ha="center", va="center", fontsize=7, color="white", parse_math=False)
    for look in _COLOURS:
        if corners[look]:
            count = f"{look} ({len(corners[look]):,})"
            bars: Any = np.asarray(corners[look])  # as one array of four corners each, which is drawn many times faster than a list
            axes.add_collection(PolyCollection(bars, facecolors=_COLOURS[look], edgecolors="white", linewidths=0.3, label=count))


def _arrows(axes: Any, past: Past, rows: dict[tuple[str, int], int]) -> None:
    pairs = past.again()
    for first, then in pairs if len(pairs) <= _MOST_ARROWS else ():
        begin = first.ended_at - past.begin, rows[slot_of(first.worker), first.lane]
        end = then.started_at - past.begin, rows[slot_of(then.worker), then.lane]
        axes.annotate("", xy=end, xytext=begin, zorder=4,
                      arrowprops={"arrowstyle": "->", "color": "#555555", "linewidth": 0.7, "alpha": 0.7,
                                  "connectionstyle": "arc3,rad=-0.15"})


def _marks(axes: Any, past: Past, rows: dict[tuple[str, int], int]) -> None:
    places: dict[EventKind, list[tuple[float, float]]] = defaultdict(list)
    for event in past.news:
        row = rows.get((slot_of(event.worker), 0)) if event.worker else None
        if event.kind in _MARKS and row is not None:
            places[event.kind].append((event.at - past.begin, row))
    for kind, (marker, colour, label) in _MARKS.items():
        if places[kind]:
            x, y = zip(*places[kind], strict=True)
            look = {"s": 42, "zorder": 5, "linewidths": 0.5, "edgecolors": "white"}
            axes.scatter(x, y, marker=marker, color=colour, label=f"{label} ({len(x):,})", **look)
    lost = [event for event in past.news if event.kind is EventKind.NODE_LOST]
    for event in lost:
        axes.axvline(event.at - past.begin, color="#8c1015", linewidth=1, linestyle="--", label="node lost" if event is lost[0] else None)


def _depth(axes: Any, past: Past) -> None:
    for name, colour, steps in (("waiting", "#d9b44a", past.waiting()), ("running", "#5b9bd5", past.running())):
        x = [0.0, *(at - past.begin for at, _ in steps), past.end - past.begin]
        y = [0, *(jobs for _, jobs in steps), steps[-1][1] if steps else 0]
        axes.fill_between(x, y, step="post", alpha=0.45, color=colour, linewidth=0, label=name)
    for number, (begin, end) in enumerate(_suspensions(past)):
        axes.axvspan(begin - past.begin, end - past.begin, color="#dddddd", zorder=0, label=None if number else "suspended")
    moved = [event.at - past.begin for event in past.news if event.kind is EventKind.MOVED and not event.worker]
    if moved:
        axes.scatter(moved, [0] * len(moved), marker=">", color="#35508f", s=30, zorder=5, clip_on=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)


def _suspensions(past: Past) -> list[tuple[float, float]]:
    spans: list[tuple[float, float]] = []
    since: dict[str, float] = {}
    for event in past.news:
        if event.kind is EventKind.SUSPENDED:
            since[event.queue] = event.at
        elif event.kind is EventKind.RESUMED:
            spans.append((since.pop(event.queue, past.begin), event.at))
    return spans + [(at, past.end) for at in since.values()]


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)


def _title(axes: Any, past: Past) -> None:
    looks = Counter(_look(attempt) for attempt in past.attempts)
    bad = ", ".join(f"{looks[look]:,} {look}" for look in ("crashed", "failed", "redelivered") if looks[look])
    text = f"{len(past.attempts):,} attempts" + (f": {bad}" if bad else "") + (" (what came before is not kept)" if past.cut else "")
    axes.set_title(shown(f"{', '.join(past.queues)}   {text}".strip(), 160), fontsize=9, loc="left", parse_math=False)


def _axes(lanes: Any, depth: Any, past: Past, rows: dict[tuple[str, int], int]) -> None:
    names = [shown(_short(slot, past), 40) if lane == 0 else "" for slot, lane in rows]
    lanes.set_yticks(range(len(rows)), names, fontsize=7)
    for label in lanes.get_yticklabels():
        label.set_parse_math(False)
    lanes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    span = max(past.end - past.begin, 1e-6)
    lanes.set_xlim(-span * 0.005, span * 1.005)
    depth.set_ylim(bottom=0)
    depth.set_ylabel("jobs", fontsize=7)
    depth.tick_params(labelsize=7)
    begin = datetime.datetime.fromtimestamp(past.begin, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC") if past.queues else ""
    depth.set_xlabel(f"seconds since {begin}" if begin else "seconds", fontsize=7)
    for axes in (lanes, depth):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)


def _short(slot: str, past: Past) -> str:
    return slot.removeprefix(f"{past.queues[0]}/") if len(past.queues) == 1 else slot


def shown(text: str, most: int) -> str:
    """Text that any font can show, of at most so many characters: others are written as escapes."""
    safe = text.encode("latin-1", "backslashreplace").decode("latin-1")
    safe = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in safe)
    return safe if len(safe) <= most else safe[: max(most - 1, 0)] + "\N{HORIZONTAL ELLIPSIS}"
