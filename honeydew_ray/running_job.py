"""What a job can say and ask about itself while it runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from honeydew_ray.errors import HoneydewError
from honeydew_ray.failure import type_name

INTERVAL_S = 0.1
"""Progress is sent to the queue at most this often; in between, the latest value wins."""

MAX_CHARS = 4096


class NotInJob(HoneydewError):
    """The call makes sense only inside a job that a worker runs."""


_NOTHING = object()


class ProgressSender:
    """Sends what a job publishes, at most once per interval, the latest value always in the end."""

    def __init__(self, send: Callable[[Any], None], interval_s: float = INTERVAL_S) -> None:
        self._send = send
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._latest: Any = _NOTHING
        self._stopped = False
        self._timer: threading.Timer | None = None

    def publish(self, value: Any) -> None:
        """Send the value now, or at the end of the interval that runs."""
        with self._lock:
            if self._stopped:  # a thread that its job left behind
                return
            self._latest = value
            if self._timer is None:
                self._start_interval()
                self._send(value)
                self._latest = _NOTHING

    def stop(self) -> None:
        """Send no more."""
        with self._lock:
            self._stopped = True
            self._latest = _NOTHING
            if self._timer is not None:
                self._timer.cancel()

    def _start_interval(self) -> None:
        self._timer = threading.Timer(self._interval_s, self._interval_over)
        self._timer.daemon = True
        self._timer.start()

    def _interval_over(self) -> None:
        with self._lock:
            self._timer = None
            if self._latest is not _NOTHING:
                self._start_interval()
                self._send(self._latest)
                self._latest = _NOTHING


class RunningJob:
    """The job that this process runs now."""

    def __init__(self, state: Any, send: Callable[[Any], None]) -> None:
        self.state = state
        self.progress = ProgressSender(send)


_running: RunningJob | None = None  # of the process, not of a thread: a job may publish from threads of its own
_running_here: ContextVar[RunningJob | None] = ContextVar("honeydew_job", default=None)  # of a task, where several jobs run at once


def set_running(job: RunningJob | None) -> None:
    """Say which job this process runs; a worker runs one at a time."""
    global _running
    if _running is not None:
        _running.progress.stop()
    _running = job


def set_running_here(job: RunningJob) -> None:
    """Say which job this task runs, and the tasks and threads that asyncio starts from it, in a worker that runs several at once."""
    _running_here.set(job)


def progress(value: Any) -> None:
    """Publish how far the job has come, as in ``honeydew.progress("downloaded 10/50")``.

    It shows as ``job.progress`` and in ``queue.status()``. Text, numbers and plain containers of
    them are shown as they are, anything else by its ``repr``, at most 4096 characters. As cheap as
    it is often: it is sent at most ten times a second, the latest value last. Outside a job it
    does nothing, so that a job's code can be run by itself.

    >>> for number in range(3):
    ...     progress(f"downloaded {number + 1}/3")
    """
    job = _running_here.get() or _running
    if job is not None:
        job.progress.publish(_plain(value))


def current_worker() -> Any:
    """The state of the worker that runs this job: the instance of its class, None without a class.

    Raises `NotInJob` outside a job.
    """
    job = _running_here.get() or _running
    if job is None:
        raise NotInJob("current_worker() was called outside a job; call it from a function that a worker runs")
    return job.state


def _plain(value: Any) -> Any:
    """The value, of Python's own types exactly: neither the queue nor who looks at it need have the modules of a user's types."""
    if value is None or type(value) in (bool, int, float):
        return value
    if issubclass(type(value), str):
        return _cut(value)
    try:
        text = json.dumps(value)  # reads numbers and texts of derived types as what they are derived from, and calls none of their methods
    except Exception:  # a user's container may raise anything
        return _cut(_shown(value))
    return json.loads(text) if len(text) <= MAX_CHARS else _cut(text)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type_name(type(value))} whose __repr__ raised {type_name(type(error))}>"


def _cut(text: str) -> str:
    return str.__getitem__(text, slice(MAX_CHARS))  # plain text, of a derived type too, whose own methods are not called
