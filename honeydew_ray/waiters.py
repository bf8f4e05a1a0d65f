"""Those who wait for the ends of jobs in this process."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence

from honeydew_ray.errors import HoneydewError
from honeydew_ray.job import JobId, JobSnapshot

log = logging.getLogger("honeydew_ray")


class Waiter:
    """What a process knows of the end of one job: nothing, its end, or that it will never know."""

    __slots__ = ("__weakref__", "callbacks", "end", "incarnation", "lost")

    def __init__(self) -> None:
        self.end: JobSnapshot | None = None
        self.lost: HoneydewError | None = None
        self.incarnation: str | None = None  # of the queue that took the job; None: not known to be taken
        self.callbacks: list[Callable[[], None]] = []

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.end is not None or self.lost is not None


class Waiters:
    """The waiters of one process for the jobs of one queue, each kept only as long as somebody holds it. For any thread.

    Invariants: all who wait for one job share one waiter, but for those who come after it was lost; it is settled once, under the
    lock, and then each of its callbacks is called once, outside of it. What a callback raises is logged.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiters: weakref.WeakValueDictionary[JobId, Waiter] = weakref.WeakValueDictionary()

    def of(self, job_id: JobId) -> Waiter:
        """The waiter for this job, made if there is none that may hear its end, or has."""
        with self._changed:  # else two threads might make one each, and one of them never hear
            waiter = self._waiters.get(job_id)
            if waiter is None or waiter.lost is not None:
                waiter = self._waiters[job_id] = Waiter()
            return waiter

    def find(self, job_id: JobId) -> Waiter | None:
        """The waiter for this job, if there is one."""
        return self._waiters.get(job_id)

    def open(self) -> list[tuple[JobId, Waiter]]:
        """Those that are not settled, with their jobs."""
        references = self._waiters.valuerefs()  # taken in one step, as other threads come and go meanwhile
        return [(reference.key, waiter) for reference in references if (waiter := reference()) is not None and not waiter.settled]

    def ended(self, ends: Sequence[JobSnapshot]) -> None:
        """Jobs ended: those who wait for them hear of it."""
        callbacks: list[Callable[[], None]] = []
        with self._changed:
            for end in ends:
                waiter = self._waiters.get(end.id)
                if waiter is not None and not waiter.settled:
                    waiter.end = end
                    callbacks += waiter.callbacks
            self._changed.notify_all()
        _call(callbacks)

    def lose(self, error: HoneydewError, waiters: Sequence[Waiter] | None = None) -> None:
        """These, or all that are open, will never know the end of their jobs."""
        callbacks: list[Callable[[], None]] = []
        with self._changed:
            for waiter in [waiter for _, waiter in self.open()] if waiters is None else waiters:
                if not waiter.settled:
                    waiter.lost = error
                    callbacks += waiter.callbacks
            self._changed.notify_all()
        _call(callbacks)

    def reopen(self, job_id: JobId) -> bool:
        """The job is back in line: who waits for it waits for its next end. Whether there is anybody."""
        with self._changed:
            waiter = self._waiters.get(job_id)
            if waiter is not None:
                waiter.end = waiter.lost = None
            return waiter is not None

    def wait(self, waiter: Waiter, timeout_s: float) -> bool:
        """Block until a waiter is settled; False if ``timeout_s`` seconds pass first."""
        with self._changed:
            return self._changed.wait_for(lambda: waiter.settled, timeout_s)

    def when_settled(self, waiter: Waiter, callback: Callable[[], None]) -> None:
        """Call back once a waiter is settled: from another thread, or at once if it is."""
        with self._changed:
            if not waiter.settled:
                waiter.callbacks.append(callback)
                return
        _call([callback])


def _call(callbacks: Sequence[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except BaseException:  # the user's code on our thread: the others must hear all the same
            log.exception("what was to be done at the end of a job raised: %r", callback)
