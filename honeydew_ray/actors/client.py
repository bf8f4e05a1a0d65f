"""A client process's side of a queue: calls to it, and who waits for its replies."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import math
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from honeydew_ray.actors import cluster, names
from honeydew_ray.actors.away import is_away
from honeydew_ray.actors.delivery import Delivery
from honeydew_ray.actors.ray_transport import unwrapped
from honeydew_ray.actors.wire import pack, unpack
from honeydew_ray.errors import HoneydewError, JobNotFound, QueueLost, QueueNotFound
from honeydew_ray.event_log import EventPage
from honeydew_ray.job import JobId
from honeydew_ray.obstacle import obstacle_of
from honeydew_ray.protocol import QueueInfo, Row, Submission
from honeydew_ray.reply_poll import Away, ReplyPoll, expect_all, what_is_left
from honeydew_ray.waiters import Waiter, Waiters

_RETRY_S = 0.1
_CALL_TIMEOUT_S = 60.0
_FINISH_S = 5.0
_LEAVE_S = 1.0
_WONDER_S = 10.0
_ANSWER_S = 30.0
_LOOK_S = 1.0  # how often a waiting thread makes sure that it is still connected

log = logging.getLogger("honeydew_ray")


class QueueClient:
    """Talks to one queue for this process: calls to it, and the waiters for its replies, which a poll settles once anybody waits."""

    def __init__(self, queue: str, actor: Any, info: QueueInfo) -> None:
        self.queue = queue
        self.actor = actor
        self.id = uuid.uuid4().hex[:16]
        self.durable = info.durable
        self.max_pending = info.max_pending
        self._waiters = Waiters()
        self._poll = ReplyPoll(queue, self.id, info, self._waiters, self._asked)
        self._wondered = False

    def __reduce__(self) -> tuple[Any, ...]:
        return client_of, (self.queue,)

    # -- calls -----------------------------------------------------------------------------------

    def call(self, method: str, *args: Any, timeout_s: float | None = _CALL_TIMEOUT_S) -> Any:
        """Call the queue and wait for its answer, through a restart of its process.

        For calls that do no harm twice. Raises what the queue raises, `QueueNotFound` if it is
        gone, `TimeoutError` after ``timeout_s`` (None: never).
        """
        self._check_connection()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.001)
            try:
                return ray.get(getattr(self.actor, method).remote(*args), timeout=left)
            except RayTaskError as error:
                raise unwrapped(error) from None
            except GetTimeoutError:
                raise TimeoutError(f"queue {self.queue!r} did not answer {method} within {timeout_s:g} s") from None
            except RayError as error:
                if not is_away(self.actor, error):
                    raise self._gone() from error
                time.sleep(_RETRY_S)

    def deliver(self, common: Submission, rows: Sequence[Row], buffers: Sequence[Any], waiters: Sequence[Waiter],
                timeout_s: float) -> Delivery:
        """Send jobs to the queue; it has custody once the delivery is confirmed."""
        self._check_connection()
        submission = pack((tuple(common), [tuple(row) for row in rows]))
        return Delivery(self.queue, self.actor, submission, buffers, waiters, timeout_s, common.patience_s, self._gone, self._poll.taken)

    def events(self, incarnation: str | None, after: int, limit: int, patience_s: float) -> EventPage:
        """What happened in the queue after a number of an incarnation; waits up to ``patience_s`` seconds for the first."""
        return EventPage(*unpack(self.call("events", incarnation, after, limit, patience_s, timeout_s=patience_s + _CALL_TIMEOUT_S)))

    def other(self, queue: str) -> QueueClient:
        """This process's client of another queue in the same place; raises `QueueNotFound`."""
        return client_of(queue)

    # -- waiting ---------------------------------------------------------------------------------

    def expect(self, job_id: JobId) -> Waiter:
        """A waiter to which the end of this job will be delivered, once the queue is told who wants it.

        All who wait for one job in this process share one waiter.
        """
        waiter = self._waiters.of(job_id)
        self._start_polling()
        if self._poll.stopped:
            self._waiters.lose(self._left(), [waiter])
        return waiter

    def follow(self, job_id: JobId, timeout_s: float | None = _CALL_TIMEOUT_S) -> Waiter:
        """A waiter for the end of a job that is in the queue; raises `JobNotFound`, and `TimeoutError` if the queue is away so long."""
        waiter = self._known(job_id)
        if waiter is not None:
            return waiter
        waiter = self.expect(job_id)
        if self.call("expect", [job_id], self.id, timeout_s=timeout_s):
            raise JobNotFound(f"queue {self.queue!r} does not know job {job_id}, or no longer keeps its result")
        waiter.incarnation = self._poll.incarnation
        return waiter

    def follow_all(self, job_ids: Sequence[JobId]) -> list[Waiter]:
        """A waiter for each of these jobs, as `follow` makes them, with a call for every thousand."""
        waiters = [self._known(job_id) for job_id in job_ids]
        strangers = [job_id for job_id, waiter in zip(job_ids, waiters, strict=True) if waiter is None]
        made = {job_id: self.expect(job_id) for job_id in strangers}
        missing = expect_all(self.call, strangers, self.id)
        if missing:
            raise JobNotFound(f"queue {self.queue!r} does not know {len(missing)} of the jobs, such as {missing[0]}, any more")
        for waiter in made.values():
            waiter.incarnation = self._poll.incarnation
        return [made[job_id] if waiter is None else waiter for job_id, waiter in zip(job_ids, waiters, strict=True)]

    def _known(self, job_id: JobId) -> Waiter | None:
        """The waiter for a job that the queue is known to have taken, and that was not lost; any other's job may never arrive."""
        waiter = self._waiters.find(job_id)
        known = waiter is not None and waiter.lost is None and (waiter.incarnation is not None or waiter.settled)
        return waiter if known else None

    def expect_again(self, job_id: JobId) -> None:
        """The job is back in line: whoever in this process knows its end waits for the next one."""
        if self._waiters.reopen(job_id):
            self.call("expect", [job_id], self.id)

    def obstacle(self, patience_s: float) -> str | None:
        """What keeps the queue's jobs from being run, as far as it says so within ``patience_s`` seconds; None if nothing does."""
        try:
            return obstacle_of(self.call("status", timeout_s=patience_s))
        except Exception:  # whoever waits hears of that in another way
            return None

    def wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Block until the waiter is settled; False if ``timeout_s`` passes first. Logs, once, what keeps the jobs from being run."""
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        wonder_at = time.monotonic() + _WONDER_S
        if not self._wondered and deadline > wonder_at and not self._wait_until(waiter, wonder_at):
            found = self.obstacle(min(_ANSWER_S, max(deadline - time.monotonic(), 0.0)))
            self._wondered = found is not None
            if found is not None:
                log.warning("waiting for jobs of queue %r: %s", self.queue, found)
        return self._wait_until(waiter, deadline)

    def _wait_until(self, waiter: Waiter, deadline: float) -> bool:
        while True:
            left = min(max(deadline - time.monotonic(), 0.0), _LOOK_S)
            if self._waiters.wait(waiter, left):
                return True
            if not ray.is_initialized():
                text = f"this process is no longer connected to Ray; queue {self.queue!r} may live on in its cluster"
                self._waiters.lose(QueueLost(text), [waiter])
            elif time.monotonic() >= deadline:
                return False

    def when_settled(self, waiter: Waiter, callback: Callable[[], None]) -> None:
        """Call back once the waiter is settled, from another thread, or at once if it is. What it raises there is logged."""
        self._waiters.when_settled(waiter, callback)

    def finish(self) -> None:
        """The queue is closed: take in what it has sent, and wait for no more."""
        self._poll.join(_FINISH_S)
        self.close()

    def close(self) -> None:
        """Wait for no more replies."""
        if not self._poll.stop():
            return
        if ray.is_initialized():  # else asking would start a Ray anew
            with contextlib.suppress(Exception):  # the queue may be gone
                self.actor.forget.remote(self.id)
            self._poll.join(_LEAVE_S)
        self._waiters.lose(self._left())

    def _asked(self, method: str, *args: Any) -> Any:
        """The queue's answer, for the poll, which waits outside of Ray. Raises `Away`; `ConnectionError` once Ray is shut down."""
        with cluster.held_open() as connected:
            if not connected:
                raise ConnectionError
            answer: Any = getattr(self.actor, method).remote(*args).future()
        while not concurrent.futures.wait([answer], timeout=_LOOK_S).done:
            if not ray.is_initialized():
                raise ConnectionError
        try:
            value = answer.result()
        except RayTaskError as error:
            raise Away from error
        except RayError as error:
            with cluster.held_open() as connected:
                if connected and is_away(self.actor, error):
                    raise Away from error
            raise
        return unpack(value) if isinstance(value, bytes) else value

    def _check_connection(self) -> None:
        if not ray.is_initialized():  # else Ray would start anew, without the queue
            again = f'get_queue("{self.queue}")'
            raise QueueNotFound(f"this process is no longer connected to Ray; connect, and find the queue again with {again}")

    def _start_polling(self) -> None:
        if self._poll.begin():
            _close_at_exit(self)

    def _left(self) -> QueueLost:
        left = what_is_left(self.queue, self.durable)
        return QueueLost(f"nobody waits for queue {self.queue!r} in this process any more; {left}")

    def _gone(self) -> QueueNotFound:
        return QueueNotFound(f"queue {self.queue!r} is gone; {what_is_left(self.queue, self.durable)}")


async def settled(client: QueueClient, waiter: Waiter) -> None:
    """Wait, in async code, until a waiter is settled."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    def wake_from_thread() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(wake)

    client.when_settled(waiter, wake_from_thread)
    await done


_clients: dict[tuple[str, str], QueueClient] = {}  # by Ray job and actor: one mailbox a process and queue
_clients_lock = threading.Lock()


def client_of(queue: str, timeout_s: float | None = None) -> QueueClient:
    """This process's client of a queue that runs; raises `QueueNotFound`, and `TimeoutError` after ``timeout_s`` seconds (None: never)."""
    actor = cluster.find_queue(queue)
    key = (ray.get_runtime_context().get_job_id(), actor._actor_id.hex())  # pyright: ignore
    with _clients_lock:
        client = _clients.get(key)
    if client is None:
        try:
            info = start(queue, actor, timeout_s)
        except HoneydewError:  # its store does not open: the handle can still stop it, and each call says why
            info = QueueInfo("", durable=True)
        with _clients_lock:
            client = _clients.setdefault(key, QueueClient(queue, actor, info))
    return client


def start(queue: str, actor: Any, timeout_s: float | None = None) -> QueueInfo:
    """Have a queue open its store, if it has not yet."""
    deadline = time.monotonic() + _CALL_TIMEOUT_S
    while True:
        try:
            return ray.get(actor.start.remote(), timeout=timeout_s)
        except GetTimeoutError:
            raise TimeoutError(f"queue {queue!r} did not answer within {timeout_s:g} s") from None
        except RayTaskError as error:
            raise unwrapped(error) from None
        except RayError as error:
            if not is_away(actor, error) or time.monotonic() > deadline:
                raise QueueNotFound(f"queue {queue!r} ({names.queue_actor(queue)}) did not start: {error}") from None
            time.sleep(_RETRY_S)  # it is away for a moment


def _close_at_exit(client: QueueClient) -> None:
    """Let go of the queue before Ray shuts down, without keeping the client alive for it."""
    reference = weakref.ref(client)

    def close() -> None:
        live = reference()
        if live is not None:
            live.close()

    atexit.register(close)
