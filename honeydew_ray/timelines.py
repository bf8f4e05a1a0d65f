"""What happened in a queue, to look at."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from honeydew_ray.arguments import expect_at_least, refuse, refuse_type
from honeydew_ray.attempts import Attempt, Past, past_of
from honeydew_ray.chrome_trace import chrome_trace
from honeydew_ray.events import Event
from honeydew_ray.queue import Queue, get_queue
from honeydew_ray.timeline_figure import draw

_PICTURES = (".png", ".svg", ".pdf")


class Timeline:
    """Where each attempt ran, when it waited, ran, failed and moved: see `timeline`.

    A notebook shows its figure. ``attempts`` are the attempts in order of their start; ``cut`` says that the queue keeps
    only what came after.
    """

    def __init__(self, past: Past) -> None:
        self._past = past

    def __repr__(self) -> str:
        span = self._past.end - self._past.begin
        return f"<Timeline of {', '.join(self._past.queues) or 'nothing'}: {len(self.attempts):,} attempt(s) in {span:.3f} s>"

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts, in order of their start."""
        return self._past.attempts

    @property
    def news(self) -> tuple[Event, ...]:
        """What else happened: retries, moves, deaths of workers, losses of nodes, suspensions."""
        return self._past.news

    @property
    def cut(self) -> bool:
        """Whether there was more before, which is not kept."""
        return self._past.cut

    def figure(self, width: float = 11.0) -> Any:
        """A ``matplotlib.figure.Figure``, ``width`` inches wide: a row per worker, a bar per attempt, how many wait and run below.

        Crosses are workers that died, arrows lead from an attempt to the next at the same job. Raises
        ``ModuleNotFoundError`` without matplotlib (the extra ``plot``).
        """
        return draw(self._past, expect_at_least("figure", "width", width, 2.0))

    def trace(self) -> dict[str, Any]:
        """The same as a Chrome trace: what ``save("trace.json")`` writes."""
        return chrome_trace(self._past)

    def save(self, path: str | Path) -> Path:
        """Write ``.json``, a trace that https://ui.perfetto.dev opens, or a picture, ``.png``, ``.svg`` or ``.pdf``; the path written.

        Raises ``ValueError`` for another ending.
        """
        path = Path(path)
        if path.suffix == ".json":
            path.write_text(json.dumps(self.trace(), allow_nan=False), encoding="utf-8")
        elif path.suffix in _PICTURES:
            self.figure().savefig(path, dpi=150)
        else:
            raise refuse("save", "path", str(path), f"a name that ends in .json, {', '.join(_PICTURES)}", 'save("timeline.png")')
        return path

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.figure().savefig(picture, format="png", dpi=110)
        return picture.getvalue()


def timeline(*queues: Queue | str | Iterable[Event]) -> Timeline:
    """What happened lately in a queue, or in several: ``honeydew.timeline(photos)`` in a notebook shows it.

    Each is a queue, a queue's name, or events that you collected yourself; a queue is asked for the events it keeps
    (``events_kept`` of `start_queue`), so of a long past there are the latest. Several queues share one picture, and a job that
    moved from one to another has an arrow. Raises `QueueNotFound`.

    >>> from honeydew_ray import Event, EventKind
    >>> began = Event(1, 100.0, EventKind.STARTED, "photos", "a", "classify", 1, "photos/default/0-1a", "node", waited_s=2.0)
    >>> ended = began._replace(number=2, at=105.0, kind=EventKind.SUCCEEDED, ran_s=5.0)
    >>> timeline([began, ended])
    <Timeline of photos: 1 attempt(s) in 7.000 s>
    >>> timeline([began, ended]).attempts[0].ran_s
    5.0
    """
    if not queues:
        raise TypeError('timeline: no queue was given, expected at least one; for example timeline("photos")')
    events: list[Event] = []
    for queue in queues:
        events += _events_of(queue)
    return Timeline(past_of(events))


def _events_of(queue: Any) -> list[Event]:
    if isinstance(queue, str):
        queue = get_queue(queue)
    if hasattr(queue, "events"):
        return list(queue.events(history=True, follow=False))
    given: list[Any] = list(queue) if isinstance(queue, Iterable) else [queue]  # pyright: ignore[reportUnknownArgumentType]
    for event in given:
        if not isinstance(event, Event):
            raise refuse_type("timeline", "queue", event, "a queue, a queue's name, or events", "timeline(photos)")
    return given
