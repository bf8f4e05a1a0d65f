"""Write a line in the log for each event."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from honeydew_ray.arguments import expect_count
from honeydew_ray.events import Event, EventKind, expect_kinds
from honeydew_ray.subscribers.base import Subscriber

_LOGGER = logging.getLogger("honeydew_ray.events")

_ALERTS = frozenset({EventKind.FAILED, EventKind.ABANDONED, EventKind.WORKER_DIED, EventKind.NODE_LOST, EventKind.REDELIVERED})


class LogEvents(Subscriber):
    """Logs events under ``honeydew_ray.events``, in the queue's process, at ``level``; bad news at WARNING at least.

    ``kinds`` are those to log, by default all but progress. Each log record has the event's facts in fields
    of its own, for log collectors and error trackers: ``honeydew_event``, ``honeydew_queue``, ``honeydew_job_id``,
    ``honeydew_method``, ``honeydew_attempt``, ``honeydew_worker``, ``honeydew_node``, ``honeydew_failure_kind``,
    ``honeydew_failure_class``, ``honeydew_traceback``, ``honeydew_waited_s``, ``honeydew_ran_s``, those that apply.
    Raises ``ValueError`` for a kind that does not exist.

    >>> LogEvents(kinds=["failed", "abandoned"])
    LogEvents(level=20, kinds=['abandoned', 'failed'])
    """

    def __init__(self, level: int = logging.INFO, kinds: Iterable[EventKind | str] | None = None) -> None:
        self._level = expect_count("LogEvents", "level", level)
        self._kinds = set(EventKind) - {EventKind.PROGRESSED} if kinds is None else expect_kinds("LogEvents", kinds)

    def __repr__(self) -> str:
        return f"LogEvents(level={self._level}, kinds={sorted(str(kind) for kind in self._kinds)})"

    def received(self, events: Sequence[Event], missed: int) -> None:
        """Log those that are asked for."""
        if missed:
            _LOGGER.warning("%d events were not kept long enough to be logged", missed)
        for event in events:
            if event.kind in self._kinds:
                level = max(self._level, logging.WARNING) if event.kind in _ALERTS else self._level
                _LOGGER.log(level, "%s", event, extra=log_facts(event))


def log_facts(event: Event) -> dict[str, object]:
    """The facts of an event as fields of a log record."""
    failure = event.failure
    facts: dict[str, object] = {
        "honeydew_event": str(event.kind), "honeydew_queue": event.queue, "honeydew_job_id": event.job_id,
        "honeydew_method": event.method, "honeydew_attempt": event.attempt, "honeydew_worker": event.worker, "honeydew_node": event.node,
        "honeydew_waited_s": event.waited_s, "honeydew_ran_s": event.ran_s,
    }
    if failure is not None:
        facts |= {"honeydew_failure_kind": failure.kind, "honeydew_failure_class": failure.class_name}
        facts["honeydew_traceback"] = failure.traceback or None
    return {name: value for name, value in facts.items() if value is not None}
