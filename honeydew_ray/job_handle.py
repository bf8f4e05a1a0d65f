"""A handle on one job, in any process of the cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeVar, cast

from honeydew_ray import cards, views
from honeydew_ray.actors.client import QueueClient, settled
from honeydew_ray.ends import error_of
from honeydew_ray.errors import HoneydewError, JobNotFound, QueueLost, ReplyNotRequested
from honeydew_ray.failure import Failure
from honeydew_ray.job import FINAL_STATES, CancelOutcome, JobId, JobRecord, JobSnapshot, JobState
from honeydew_ray.obstacle import standing_of
from honeydew_ray.stores.base import Page, Query
from honeydew_ray.waiters import Waiter

T = TypeVar("T")

_LOOK_TIMEOUT_S = 5.0  # a display is better without an answer than late
_ASK_S = 1.0  # the least for a question, however short the wait for the job is to be
_MOMENTS_S = 0.5  # whoever waits no longer than moments is not kept by a question
_ASK_WHY_S = 0.5  # the least for one, else a tenth of the wait
_MISSING: Any = object()


class Job(Generic[T]):
    """A job in a queue, and its result when there is one.

    Cheap to make, to copy to another process and to throw away: the job itself lives in the
    queue. ``await job`` is ``job.result()`` for async code.
    """

    def __init__(self, client: QueueClient, job_id: JobId, *, waiter: Waiter | None = None, reply: bool = True,
                 record: JobRecord | None = None) -> None:
        self._client = client
        self._id = job_id
        self._waiter = waiter
        self._reply = reply
        self._record = record
        self._value: T = _MISSING

    def __repr__(self) -> str:
        return f"<Job {self._id} of queue {self.queue!r}>"

    def _repr_html_(self) -> str:
        try:
            snapshot = self._snapshot(_LOOK_TIMEOUT_S)
            page: Page = self._client.call("listing", Query(ids=[self._id]), None, 1, timeout_s=_LOOK_TIMEOUT_S)
            record = page.jobs[0] if page.jobs else None
        except Exception as error:  # a display must not fail; the queue may be gone
            return cards.gone_card(f"job {views.id_text(self._id)} of queue {self.queue}", error).html
        return cards.job_card(self.queue, snapshot, record).html

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._client, self._id, self._reply)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, JobId]:
        return self.queue, self._id

    @property
    def id(self) -> JobId:
        """The job's id, unique in its queue."""
        return self._id

    @property
    def queue(self) -> str:
        """The name of its queue."""
        return self._client.queue

    # -- the result ----------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> T:
        """Wait for the job's last outcome and return its value.

        Waits for ever, or ``timeout`` seconds. Raises `JobAbandoned` or `JobMoved` (both
        `JobFailed`), `JobCancelled`, `QueueLost` if the queue died and kept nothing, `JobNotFound`
        if the queue no longer keeps the result, `ReplyNotRequested`, or the builtin `TimeoutError`.

        >>> photos.submit("classify", "img1.png").result(timeout=30)
        'a cat'
        >>> photos.submit("classify", None).result(timeout=30)
        Traceback (most recent call last):
        ...
        honeydew_ray.errors.JobAbandoned: job ... failed after 1 attempt(s): exception: ValueError: no photo
        """
        if not self.wait(timeout):
            raise TimeoutError(f"job {self._id} of queue {self.queue!r} has not ended within {timeout:g} s{self._why(timeout)}")
        return self._outcome(self._follow())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job has ended, well or not; False if ``timeout`` seconds pass first. Raises as `result` does before the end.

        A process that did not submit the job asks the queue first, which takes up to a second if the queue is away. An interrupt
        (Ctrl-C, a notebook's stop button) ends the waiting only, and says how to find the job again.
        """
        waiter, left_s = self._waiter, timeout
        if waiter is None:
            began = time.monotonic()
            try:
                waiter = self._follow(None if timeout is None else max(timeout, _ASK_S))
            except TimeoutError:
                return False
            left_s = None if timeout is None else max(timeout - (time.monotonic() - began), 0.0)
        try:
            return self._client.wait(waiter, left_s)
        except KeyboardInterrupt:
            again = f'honeydew.get_queue("{self.queue}").job({self._id!r})'
            raise KeyboardInterrupt(f"job {self._id} of queue {self.queue!r} goes on; {again} finds it again") from None

    def __await__(self) -> Generator[Any, None, T]:
        waiter = self._follow()
        yield from settled(self._client, waiter).__await__()
        return self._outcome(waiter)

    @staticmethod
    def follow_all(jobs: Sequence[Job[Any]]) -> None:
        """Have the queues send the ends of these jobs, a thousand to a call, so that waiting for each costs no call of its own.

        Raises `JobNotFound` and `ReplyNotRequested`.
        """
        strangers: dict[QueueClient, list[Job[Any]]] = {}
        for job in jobs:
            if job._waiter is None and job._reply:
                strangers.setdefault(job._client, []).append(job)
            else:
                job._follow()
        for client, theirs in strangers.items():
            for job, waiter in zip(theirs, client.follow_all([job.id for job in theirs]), strict=True):
                job._waiter = waiter

    def done(self) -> bool:
        """Whether the job has ended, well or not. Raises `JobNotFound` if its queue does not know it any more."""
        if self._waiter is not None:
            return self._waiter.settled
        return self._snapshot().state in FINAL_STATES

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call back when the job has ended and `result` returns or raises at once: from another thread, or now if it has.

        What it raises there is logged.
        """
        self._client.when_settled(self._follow(), callback)

    # -- how it stands ---------------------------------------------------------------------------

    @property
    def state(self) -> JobState:
        """Where the job is now. Raises `JobNotFound` if its queue does not know it any more.

        >>> print(photos.options(delay_s=3600).submit("classify", "img3.png").state)
        delayed
        """
        return self._snapshot().state

    @property
    def progress(self) -> Any:
        """What the running job last published with `honeydew.progress`; None if nothing."""
        return self._snapshot().progress

    @property
    def attempts(self) -> int:
        """How many attempts have started."""
        return self._snapshot().attempts

    @property
    def last_error(self) -> Failure | None:
        """How the last attempt that did not succeed ended; None if there was none.

        >>> job = photos.submit("classify", None)
        >>> job.wait(30)
        True
        >>> job.last_error.class_name
        'ValueError'
        """
        return self._snapshot().last_error

    @property
    def method(self) -> str:
        """The name of the method, or a function's module and name."""
        return self._record.method if self._record is not None else self._snapshot().method

    @property
    def enqueued_at(self) -> float | None:
        """When the queue took the job, in seconds since the epoch; None for a row of a table that it has yet to reserve."""
        return self._snapshot().enqueued_at

    @property
    def started_at(self) -> float | None:
        """When the current or last attempt was issued, in seconds since the epoch."""
        return self._snapshot().started_at

    @property
    def completed_at(self) -> float | None:
        """When the job ended, in seconds since the epoch."""
        return self._snapshot().completed_at

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments, unpickled here. Raises `JobNotFound` once the job has left its queue."""
        return self._stored().args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments, unpickled here. Raises `JobNotFound` once the job has left its queue."""
        return self._stored().kwargs

    @property
    def private(self) -> Any:
        """The failure mode's own note on the job."""
        return self._stored().private

    # -- what can be done with it ------------------------------------------------------------------

    def cancel(self, running: bool = False) -> CancelOutcome:
        """Call the job off: ``CANCELLED`` means that it will not start (again).

        One that runs is left alone, ``IN_PROGRESS``, unless ``running=True``: then its worker is
        killed and replaced. ``NOT_FOUND``: it has ended, or was never here.

        >>> job = photos.options(delay_s=3600).submit("classify", "img4.png")
        >>> print(job.cancel(), job.cancel())
        cancelled not_found
        """
        return self._client.call("cancel", self._id, running, timeout_s=None)

    def retry(self) -> Job[T]:
        """Submit an abandoned job again, under its id, its failures counted anew.

        This handle, and the others on the job in this process, wait for its next end. Raises
        `JobNotFound` if the job is not in the queue's list of abandoned jobs.
        """
        self._client.call("retry", self._id, timeout_s=None)
        self._client.expect_again(self._id)
        self._record = None
        return self

    def move(self, queue: str) -> Job[T]:
        """Put a waiting job in another queue, then take it off this one; the handle on it there.

        Raises `JobInProgress` if it runs, `JobNotFound` if it has ended, `QueueNotFound` if there
        is no such queue; then the job stays where it is. A result() of this handle raises `JobMoved`.
        """
        destination = self._client.other(queue)
        self._client.call("move", self._id, queue, timeout_s=None)
        return Job(destination, self._id, reply=self._reply)

    # ----------------------------------------------------------------------------------------------

    def _why(self, timeout: float | None) -> str:
        """Why the job has not ended, for an error's text."""
        if timeout is None or timeout < _MOMENTS_S:
            return ""
        patience_s = max(min(timeout / 10, _LOOK_TIMEOUT_S), _ASK_WHY_S)
        found = self._client.obstacle(patience_s)
        if found is None:
            with contextlib.suppress(HoneydewError, TimeoutError):  # the queue is away, or has forgotten the job
                found = standing_of(self._snapshot(patience_s), time.time())
        return "" if found is None else f": {found}"

    def _follow(self, timeout_s: float | None = 60.0) -> Waiter:
        if not self._reply:
            raise ReplyNotRequested(f"job {self._id} was submitted with reply=False, so its result was not asked for")
        if self._waiter is None:
            self._waiter = self._client.follow(self._id, timeout_s)
        return self._waiter

    def _ended(self) -> JobSnapshot | None:
        return None if self._waiter is None else self._waiter.end

    def _snapshot(self, timeout_s: float = 60.0) -> JobSnapshot:
        ended = self._ended()
        snapshot: JobSnapshot | None = ended if ended is not None else self._client.call("describe", self._id, timeout_s=timeout_s)
        if snapshot is not None:
            return snapshot
        ended = self._ended()  # it may have ended meanwhile, and its end be on its way
        if ended is None:
            raise JobNotFound(f"queue {self.queue!r} does not know job {self._id}, or no longer keeps its end")
        return ended

    def _stored(self) -> JobRecord:
        if self._record is None:
            page: Page = self._client.call("page", Query(ids=[self._id]), None, 1)
            if not page.jobs:
                raise JobNotFound(f"job {self._id} has left queue {self.queue!r}, and its arguments with it")
            self._record = page.jobs[0]
        return self._record

    def _outcome(self, waiter: Waiter) -> T:
        if self._value is not _MISSING:
            return self._value
        end = waiter.end
        if end is None:
            raise waiter.lost or QueueLost(f"queue {self.queue!r} is gone")
        if end.state is JobState.DONE:
            self._value = cast("T", None if end.result is None else end.result.load())
            return self._value
        raise error_of(end, self.queue)


def _rebuild(client: QueueClient, job_id: JobId, reply: bool) -> Job[Any]:
    return Job(client, job_id, reply=reply)
