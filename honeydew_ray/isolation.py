"""Which jobs are to have a worker to themselves, and for how long they wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from honeydew_ray.job import FINAL_STATES, JobId, JobRecord
from honeydew_ray.monitor import JobMonitor
from honeydew_ray.postmortem import is_suspect
from honeydew_ray.workforce import Workforce

ALONE_S = 30.0
"""How long a job that is to have a worker to itself waits for one to be done with others; then it goes among them."""

_MOST_BESIDE = 64  # a queue of nothing but such jobs need not claim all of them to issue one


class Isolation:
    """Keeps jobs apart that may end the worker they run on, so that one that does is found, and harms no other again.

    They are those under which a worker ended, as their last failure says, and those that waited in a lease whose worker ended.
    """

    def __init__(self, workforce: Workforce, look: Callable[[], None]) -> None:
        self._workforce = workforce
        self._look = look
        self._singly: set[JobId] = set()  # jobs that had not begun when their lease's worker died, and that have yet to be issued again
        self._waiting: dict[JobId, asyncio.TimerHandle | None] = {}  # for a worker to themselves; None: for long enough

    def beside(self) -> int:
        """How many jobs to claim beside those that there is room for: these, for which nobody is there yet, must not stand in their way."""
        return min(len(self._waiting), _MOST_BESIDE)

    def applies_to(self, job: JobRecord) -> bool:
        """Whether the job is to have its worker to itself."""
        return (is_suspect(job) or job.id in self._singly) and self._waiting.get(job.id, ...) is not None

    def refused(self, job_id: JobId) -> None:
        """There was no worker for the job to have to itself."""
        if job_id not in self._waiting:
            self._waiting[job_id] = asyncio.get_running_loop().call_later(ALONE_S, self._give_up, job_id)

    def left_waiting(self, monitors: Iterable[JobMonitor]) -> None:
        """The worker ended before these jobs of its lease began."""
        for monitor in monitors:
            self._singly.add(monitor.job.id)
            monitor.concluded.add_done_callback(self._forget_if_over)

    def forget(self, job_id: JobId) -> None:
        """The job was issued, or waits here no more."""
        self._singly.discard(job_id)
        timer = self._waiting.pop(job_id, None)
        if timer is not None:
            timer.cancel()
            self._workforce.reopen(job_id)

    def _give_up(self, job_id: JobId) -> None:
        self._waiting[job_id] = None
        self._workforce.reopen(job_id)
        self._look()

    def _forget_if_over(self, concluded: asyncio.Future[JobRecord]) -> None:
        record = concluded.result()
        if record.state in FINAL_STATES:  # it was called off meanwhile
            self.forget(record.id)
