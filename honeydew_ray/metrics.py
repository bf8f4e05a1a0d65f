"""Prometheus metrics of a queue, through Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import Any, Protocol

from honeydew_ray.actors.instruments import RayInstruments
from honeydew_ray.arguments import expect_seconds
from honeydew_ray.events import Event, EventKind
from honeydew_ray.status import QueueStatus, WorkerState
from honeydew_ray.subscribers.base import Subscriber

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
MAX_METHODS = 100
OTHER = "(other)"
"""What stands for the methods beyond the first `MAX_METHODS`, as each makes time series of its own."""


class Instruments(Protocol):
    """Makes what measures: Ray's, or a test's."""

    def counter(self, name: str, description: str, tags: Sequence[str]) -> Any:
        """With ``inc(value, tags)``."""
        ...

    def gauge(self, name: str, description: str, tags: Sequence[str]) -> Any:
        """With ``set(value, tags)``."""
        ...

    def histogram(self, name: str, description: str, boundaries: Sequence[float], tags: Sequence[str]) -> Any:
        """With ``observe(value, tags)``."""
        ...


class Metrics(Subscriber):
    """Exports a queue's metrics with Ray's: ``start_queue(..., subscribers=[Metrics()])``.

    Every metric has the tag ``queue``; Ray adds its own, and the prefix ``ray_``:

    - ``honeydew_jobs{state}``, ``honeydew_workers{state}``, ``honeydew_suspended``: how it stands, every ``every_s`` seconds
    - ``honeydew_events_total{kind, method}``: jobs enqueued, started, succeeded, failed, retrying ...; workers started and died
    - ``honeydew_failures_total{reason, method}``: failed attempts by `Failure.kind`
    - ``honeydew_queue_time_seconds{method}``: from when a job was due to the start of an attempt at it
    - ``honeydew_run_time_seconds{method}``: of attempts that came to an end, well or not
    - ``honeydew_events_missed_total``: events that came faster than they could be counted

    Needs ``ray[default]``, whose agent exports them; without it nothing is exported and nothing breaks.
    `dashboard` has a Grafana dashboard for them.
    """

    def __init__(self, every_s: float = 5.0, instruments: Instruments | None = None) -> None:
        self.status_every_s = expect_seconds("Metrics", "every_s", every_s, positive=True)
        self._make = instruments
        self._methods: set[str] = set()
        self._queue: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Metrics(every_s={self.status_every_s:g})"

    def opened(self, queue: str) -> None:
        """Make the instruments, in the process that uses them."""
        make = self._make or RayInstruments()
        self._queue = {"queue": queue}
        self._jobs = make.gauge("honeydew_jobs", "Jobs in the queue, by state.", ("queue", "state"))
        self._workers = make.gauge("honeydew_workers", "Workers of the queue, by state.", ("queue", "state"))
        self._suspended = make.gauge("honeydew_suspended", "1 while the queue is suspended.", ("queue",))
        self._events = make.counter("honeydew_events", "What happened, by kind.", ("queue", "kind", "method"))
        self._failures = make.counter("honeydew_failures", "Failed attempts, by reason.", ("queue", "reason", "method"))
        self._missed = make.counter("honeydew_events_missed", "Events that could not be counted.", ("queue",))
        waited = "Seconds from when a job was due to the start of an attempt at it."
        self._waited = make.histogram("honeydew_queue_time_seconds", waited, SECONDS, ("queue", "method"))
        self._ran = make.histogram("honeydew_run_time_seconds", "Seconds that an attempt ran.", SECONDS, ("queue", "method"))

    def received(self, events: Sequence[Event], missed: int) -> None:
        """Count and measure."""
        if missed:
            self._missed.inc(missed, self._queue)
        kinds, failures = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for event in events:
            method = self._known(event.method)
            kinds[event.kind.value, method] += 1
            if event.kind is EventKind.STARTED and event.waited_s is not None:
                self._waited.observe(event.waited_s, {**self._queue, "method": method})
            elif event.kind is EventKind.FAILED and event.failure is not None:
                failures[event.failure.kind, method] += 1
            if event.ran_s is not None:
                self._ran.observe(event.ran_s, {**self._queue, "method": method})
        for (kind, method), count in kinds.items():
            self._events.inc(count, {**self._queue, "kind": kind, "method": method})
        for (reason, method), count in failures.items():
            self._failures.inc(count, {**self._queue, "reason": reason, "method": method})

    def looked(self, status: QueueStatus) -> None:
        """Set the gauges."""
        self._show(status)

    def closed(self) -> None:
        """A queue that is gone has nothing."""
        self._show(QueueStatus(self._queue["queue"], 0, 0, 0, 0, False, ""))

    def _show(self, status: QueueStatus) -> None:
        counts = {"pending": status.pending, "delayed": status.delayed, "in_progress": status.in_progress, "abandoned": status.abandoned}
        for state, count in counts.items():
            self._jobs.set(count, {**self._queue, "state": state})
        workers = Counter(worker.state for worker in status.workers)
        for state in WorkerState:  # all of them, so that a state that nobody is in any more goes to 0
            self._workers.set(workers[state], {**self._queue, "state": state.value})
        self._suspended.set(float(status.suspended), self._queue)

    def _known(self, method: str | None) -> str:
        if method is None:
            return ""
        if method not in self._methods:
            if len(self._methods) >= MAX_METHODS:
                return OTHER
            self._methods.add(method)
        return method


def dashboard() -> str:
    """The Grafana dashboard for `Metrics`, as JSON text: save it to a file and import that in Grafana.

    >>> import json
    >>> json.loads(dashboard())["title"]
    'Honeydew queues'
    """
    return (resources.files("honeydew_ray") / "dashboards" / "honeydew.json").read_text()
