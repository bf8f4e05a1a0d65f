"""The long poll by which a client's process hears of the ends of its jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from honeydew_ray.errors import QueueLost
from honeydew_ray.job import JobId
from honeydew_ray.protocol import Collected, QueueInfo
from honeydew_ray.waiters import Waiter, Waiters

log = logging.getLogger("honeydew_ray")

PATIENCE_S = 30.0
"""How long the queue may keep a call waiting for the first end."""

_RETRY_S = 0.1
_EXPECT_MANY = 1000


class Away(Exception):
    """The queue is away for a moment: ask it again."""


Ask = Callable[..., Any]
"""Calls a method of the queue, by name, and waits for the answer. Raises `Away`, or anything else if the queue is gone for good."""


class ReplyPoll:
    """A thread that keeps one call waiting in the queue, from when it is begun until the queue is gone, and follows it through a restart.

    A durable queue that lost its process still has the jobs, and is asked for their ends anew; a memory
    queue has lost those that an earlier process of it took. If the thread ends, no waiter is left open.
    """

    def __init__(self, queue: str, client: str, info: QueueInfo, waiters: Waiters, ask: Ask) -> None:
        self.incarnation = info.incarnation  # of the queue, as the poll last heard
        self._queue = queue
        self._client = client
        self._durable = info.durable
        self._waiters = waiters
        self._ask = ask
        self._acknowledged = 0  # the number of the last end that was taken in
        self._strangers: list[Waiter] = []  # their jobs were taken by another incarnation than the one that the poll is with
        self._unasked = False  # the queue has yet to be told anew which ends this process waits for
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def begin(self) -> bool:
        """Poll from now on; whether it did not before."""
        if self._thread is not None:
            return False
        with self._lock:
            if self._thread is not None or self._stopped.is_set():
                return False
            self._thread = threading.Thread(target=self._run, name=f"honeydew-replies-{self._queue}", daemon=True)
            self._thread.start()
            return True

    def stop(self) -> bool:
        """Begin no call any more; whether this is the first time that it is told."""
        with self._lock:
            first = not self._stopped.is_set()
            self._stopped.set()
            return first

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    def join(self, timeout_s: float) -> None:
        """Return when the thread has ended, or after ``timeout_s`` seconds."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():  # a callback may stop the queue
            thread.join(timeout_s)

    def taken(self, waiters: Sequence[Waiter], incarnation: str) -> None:
        """A process of the queue has custody of the jobs of these waiters; it may be dead by now, and the poll with the next one."""
        for waiter in waiters:
            waiter.incarnation = incarnation
        with self._lock:
            if incarnation != self.incarnation and not self._durable:
                self._strangers.extend(waiters)

    def _run(self) -> None:
        over: str | None = None
        try:
            while over is None and not self._stopped.is_set():
                over = self._collect()
        except BaseException:  # a fault of ours must not leave anybody waiting
            log.exception("the poll for the ends of jobs in queue %r failed", self._queue)
            over = f"hearing from queue {self._queue!r} failed; what became of the job can be asked of it anew"
        with self._lock:
            self._thread = None  # first: who comes from now on begins another poll
        if over is not None:
            self._waiters.lose(QueueLost(over))

    def _collect(self) -> str | None:
        """Make one call, and take in its answer; why there is nothing more to wait for, if so."""
        with self._lock:
            strangers, self._strangers = self._strangers, []
        try:
            collected: Collected = self._ask("collect", self._client, self.incarnation, self._acknowledged, PATIENCE_S)
        except Away:
            with self._lock:
                self._strangers.extend(strangers)
            self._stopped.wait(_RETRY_S)
            return None
        except Exception:  # it is dead for good, or this process left the cluster
            return f"queue {self._queue!r} is gone; {what_is_left(self._queue, self._durable)}"
        if collected.incarnation != self.incarnation:
            self._restarted(collected.incarnation)
        elif collected.forgotten or self._unasked:  # this process was asleep for long, or the queue meets it for the first time
            self._ask_again()
        self._waiters.ended([end for _, end in collected.ends])
        lost = [waiter for waiter in strangers if waiter.incarnation != collected.incarnation]
        if lost:
            self._waiters.lose(self._memory_lost(), lost)
        if collected.ends:
            self._acknowledged = collected.ends[-1][0]
        elif collected.closed:
            return f"queue {self._queue!r} was stopped before the job ended; {what_is_left(self._queue, self._durable)}"
        return None

    def _restarted(self, incarnation: str) -> None:
        with self._lock:
            self.incarnation, self._acknowledged = incarnation, 0
        if self._durable:
            self._ask_again()
            return
        lost = [waiter for _, waiter in self._waiters.open() if waiter.incarnation not in (None, incarnation)]
        self._waiters.lose(self._memory_lost(), lost)

    def _ask_again(self) -> None:
        """Say anew which ends this process waits for; those the queue had taken and does not know any more are lost."""
        waiters = self._waiters.open()
        taken = [(job_id, waiter) for job_id, waiter in waiters if waiter.incarnation is not None]  # the others may still be on their way
        try:
            unknown = set(expect_all(self._ask, [job_id for job_id, _ in waiters], self._client))
        except Exception:  # it is away again, or only a connection broke: to be asked again, for all, when it next answers
            self._unasked = True
            return
        self._unasked = False
        gone = [waiter for job_id, waiter in taken if job_id in unknown]
        self._waiters.lose(QueueLost(f"queue {self._queue!r} knows the job no more, and its end was not kept"), gone)

    def _memory_lost(self) -> QueueLost:
        return QueueLost(f"the process of queue {self._queue!r} died, and its store kept nothing")


def expect_all(ask: Ask, job_ids: Sequence[JobId], client: str) -> list[JobId]:
    """Tell the queue that a client waits for the ends of these jobs, in a call for every thousand; those that it does not know."""
    chunks = (job_ids[start_at : start_at + _EXPECT_MANY] for start_at in range(0, len(job_ids), _EXPECT_MANY))
    return [job_id for chunk in chunks for job_id in ask("expect", chunk, client)]


def what_is_left(queue: str, durable: bool) -> str:
    """For an error message: what is left of the jobs of a queue that is gone, and what to do."""
    if durable:
        again = f'start_queue("{queue}", store=...)'
        return f"its store keeps its jobs: {again}, where the store can be reached, carries on with them, and its job(id) finds each"
    return f'its store kept nothing; start_queue("{queue}") begins anew'
