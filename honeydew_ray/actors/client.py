"""A client process's side of a queue: calls to it, and one mailbox for all replies from it."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayError, RayTaskError

from honeydew_ray.actors import cluster, names
from honeydew_ray.actors.queue_actor import Collected, QueueInfo, Row, Submission
from honeydew_ray.actors.ray_transport import unwrapped
from honeydew_ray.actors.wire import pack, unpack
from honeydew_ray.errors import EnqueueUncertain, HoneydewError, JobNotFound, QueueFull, QueueLost, QueueNotFound
from honeydew_ray.event_log import EventPage
from honeydew_ray.job import JobId, JobSnapshot

_PATIENCE_S = 30.0
_EXPECT_MANY = 1000
_RETRY_S = 0.1
_CALL_TIMEOUT_S = 60.0
_FINISH_S = 5.0
_LOOK_S = 1.0  # how often a waiting thread makes sure that it is still connected


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


class Delivery:
    """Jobs on their way to a queue."""

    def __init__(self, queue: str, actor: Any, submission: bytes, buffers: Sequence[Any], waiters: Sequence[Waiter], timeout_s: float,
                 patience_s: float, gone: Callable[[], QueueNotFound], taken: Callable[[Sequence[Waiter], str], None]) -> None:
        self._queue = queue
        self._actor = actor
        self._submission = submission
        self._buffers = buffers
        self._waiters = waiters
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._gone = gone
        self._taken = taken
        self._deadline = time.monotonic() + timeout_s
        self.large = bool(buffers)  # what is sent after it may arrive before it
        self._sent = self._send()

    def confirm(self) -> None:
        """Return once the queue has custody.

        Tries again under the same ids while it is unclear whether the jobs arrived. Raises what the
        queue raises, `QueueNotFound` if it is gone (nothing was enqueued), `EnqueueUncertain`.
        """
        unclear = False
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                text = f"queue {self._queue!r} did not answer within {self._timeout_s:g} s; the job may be enqueued or not"
                raise EnqueueUncertain(text)
            try:
                incarnation: str = ray.get(self._sent, timeout=left)
            except RayTaskError as error:
                refusal = unwrapped(error)
                if not isinstance(refusal, QueueFull) or self._patience_s <= 0 or self._deadline - time.monotonic() < self._patience_s:
                    raise refusal from None
                self._sent = self._send()
            except (ActorUnavailableError, GetTimeoutError):
                unclear = True
                time.sleep(_RETRY_S)
                self._sent = self._send()
            except ActorDiedError:
                if unclear:
                    raise EnqueueUncertain(f"queue {self._queue!r} is gone; the job may have been enqueued or not") from None
                raise self._gone() from None
            else:
                self._taken(self._waiters, incarnation)
                return

    def _send(self) -> Any:
        return self._actor.enqueue.remote(self._submission, *self._buffers)


class QueueClient:
    """Talks to one queue for this process.

    A thread keeps one long poll with the queue for as long as the process has asked for results;
    it follows the queue through a restart. Invariant: a waiter is settled once, under the lock.
    """

    def __init__(self, queue: str, actor: Any, info: QueueInfo) -> None:
        self.queue = queue
        self.actor = actor
        self.id = uuid.uuid4().hex[:16]
        self.durable = info.durable
        self.max_pending = info.max_pending
        self._incarnation = info.incarnation
        self._waiters: weakref.WeakValueDictionary[JobId, Waiter] = weakref.WeakValueDictionary()
        self._strangers: list[Waiter] = []  # their jobs were taken by another incarnation than the one that the poll is with
        self._changed = threading.Condition()
        self._poller: threading.Thread | None = None
        self._closing = False

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
            except ActorUnavailableError:
                time.sleep(_RETRY_S)
            except ActorDiedError:
                raise self._gone() from None
            except GetTimeoutError:
                raise TimeoutError(f"queue {self.queue!r} did not answer {method} within {timeout_s:g} s") from None

    def deliver(self, common: Submission, rows: Sequence[Row], buffers: Sequence[Any], waiters: Sequence[Waiter],
                timeout_s: float) -> Delivery:
        """Send jobs to the queue; it has custody once the delivery is confirmed."""
        self._check_connection()
        submission = pack((tuple(common), [tuple(row) for row in rows]))
        return Delivery(self.queue, self.actor, submission, buffers, waiters, timeout_s, common.patience_s, self._gone, self._taken)

    def _taken(self, waiters: Sequence[Waiter], incarnation: str) -> None:
        """A process of the queue has custody of the jobs of these waiters; it may be dead by now, and the poll with the next one."""
        with self._changed:
            for waiter in waiters:
                waiter.incarnation = incarnation
            if incarnation != self._incarnation and not self.durable:
                self._strangers.extend(waiters)

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
        waiter = self._waiters.setdefault(job_id, Waiter())
        if self._poller is None:
            self._start_polling()
        return waiter

    def follow(self, job_id: JobId) -> Waiter:
        """A waiter for the end of a job that is in the queue; raises `JobNotFound`."""
        waiter = self._waiters.get(job_id)
        if waiter is not None:
            return waiter
        waiter = self.expect(job_id)
        if self.call("expect", [job_id], self.id):
            raise JobNotFound(f"queue {self.queue!r} does not know job {job_id}, or no longer keeps its result")
        waiter.incarnation = self._incarnation
        return waiter

    def follow_all(self, job_ids: Sequence[JobId]) -> list[Waiter]:
        """A waiter for each of these jobs, as `follow` makes them, with a call for every thousand."""
        waiters = [self._waiters.get(job_id) for job_id in job_ids]
        strangers = [job_id for job_id, waiter in zip(job_ids, waiters, strict=True) if waiter is None]
        made = {job_id: self.expect(job_id) for job_id in strangers}
        for start_at in range(0, len(strangers), _EXPECT_MANY):
            missing = self.call("expect", strangers[start_at : start_at + _EXPECT_MANY], self.id)
            if missing:
                raise JobNotFound(f"queue {self.queue!r} does not know {len(missing)} of the jobs, such as {missing[0]}, any more")
        for waiter in made.values():
            waiter.incarnation = self._incarnation
        return [made[job_id] if waiter is None else waiter for job_id, waiter in zip(job_ids, waiters, strict=True)]

    def expect_again(self, job_id: JobId) -> None:
        """The job is back in line: whoever in this process knows its end waits for the next one."""
        with self._changed:
            waiter = self._waiters.get(job_id)
            if waiter is not None:
                waiter.end = waiter.lost = None
        if waiter is not None:
            self.call("expect", [job_id], self.id)

    def wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Block until the waiter is settled; False if ``timeout_s`` passes first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not waiter.settled:
                left = _LOOK_S if deadline is None else min(deadline - time.monotonic(), _LOOK_S)
                if left <= 0:
                    return False
                self._changed.wait_for(lambda: waiter.settled, left)
                if not waiter.settled and not ray.is_initialized():
                    waiter.lost = QueueLost(f"this process is no longer connected to Ray; queue {self.queue!r} may live on in its cluster")
            return True

    def when_settled(self, waiter: Waiter, callback: Callable[[], None]) -> None:
        """Call back once the waiter is settled, from another thread, or at once if it is."""
        with self._changed:
            if not waiter.settled:
                waiter.callbacks.append(callback)
                return
        callback()

    def finish(self) -> None:
        """The queue is closed: take in what it has sent, and wait for no more."""
        poller = self._poller
        if poller is not None:
            poller.join(timeout=_FINISH_S)
        self.close()

    def close(self) -> None:
        """Wait for no more replies."""
        if self._closing:
            return
        self._closing = True
        if ray.is_initialized():  # else asking would start a Ray anew
            with contextlib.suppress(Exception):  # the queue may be gone
                self.actor.forget.remote(self.id)
            if self._poller is not None:
                self._poller.join(timeout=1.0)
        self._settle_lost(QueueLost(f"nobody waits for queue {self.queue!r} in this process any more; {self._what_is_left()}"))

    # -- the poller ------------------------------------------------------------------------------

    def _start_polling(self) -> None:
        with self._changed:
            if self._poller is None:
                self._poller = threading.Thread(target=self._poll, name=f"honeydew-replies-{self.queue}", daemon=True)
                self._poller.start()
                _close_at_exit(self)

    def _poll(self) -> None:
        acknowledged = 0
        while not self._closing:
            with self._changed:
                strangers, self._strangers = self._strangers, []
            try:
                answer: bytes | Collected = self._asked("collect", self.id, self._incarnation, acknowledged, _PATIENCE_S)
            except (ActorUnavailableError, RayTaskError):
                with self._changed:
                    self._strangers.extend(strangers)
                time.sleep(_RETRY_S)
            except Exception:  # the queue is dead for good, or Ray was shut down
                self._settle_lost(QueueLost(f"queue {self.queue!r} is gone; {self._what_is_left()}"))
                self._poller = None
                return
            else:
                collected: Collected = unpack(answer) if isinstance(answer, bytes) else answer
                if collected.incarnation != self._incarnation:
                    acknowledged = 0
                    self._queue_restarted(collected.incarnation)
                elif collected.forgotten:  # this process was asleep for long, or the queue meets it for the first time
                    self._ask_again()
                self._deliver([end for _, end in collected.ends])
                lost = [waiter for waiter in strangers if waiter.incarnation != collected.incarnation]
                if lost:
                    self._settle_lost(self._memory_lost(), lost)
                acknowledged = collected.ends[-1][0] if collected.ends else acknowledged
                if collected.closed and not collected.ends:
                    self._settle_lost(QueueLost(f"queue {self.queue!r} was stopped before the job ended; {self._what_is_left()}"))
                    self._poller = None
                    return

    def _asked(self, method: str, *args: Any) -> Any:
        """The queue's answer, for the poller, which waits outside of Ray. Raises `ConnectionError` once Ray is shut down."""
        with cluster.held_open() as connected:
            if not connected:
                raise ConnectionError
            answer: Any = getattr(self.actor, method).remote(*args).future()
        while not concurrent.futures.wait([answer], timeout=_LOOK_S).done:
            if not ray.is_initialized():
                raise ConnectionError
        return answer.result()

    def _deliver(self, ends: Sequence[JobSnapshot]) -> None:
        if not ends:
            return
        callbacks: list[Callable[[], None]] = []
        with self._changed:
            for end in ends:
                waiter = self._waiters.get(end.id)
                if waiter is not None and not waiter.settled:
                    waiter.end = end
                    callbacks += waiter.callbacks
            self._changed.notify_all()
        for callback in callbacks:
            callback()

    def _queue_restarted(self, incarnation: str) -> None:
        """A durable queue still has the jobs, so ask again; a memory queue has lost those it took before."""
        self._incarnation = incarnation
        if self.durable:
            self._ask_again()
            return
        lost = [waiter for _, waiter in self._open_waiters() if waiter.incarnation not in (None, incarnation)]
        self._settle_lost(self._memory_lost(), lost)

    def _memory_lost(self) -> QueueLost:
        return QueueLost(f"the process of queue {self.queue!r} died, and its store kept nothing")

    def _ask_again(self) -> None:
        """Say anew which ends this process waits for; those the queue had taken and does not know any more are lost."""
        waiters = self._open_waiters()
        taken = [(job_id, waiter) for job_id, waiter in waiters if waiter.incarnation is not None]  # the others may still be on their way
        try:
            unknown = set(self._asked("expect", [job_id for job_id, _ in waiters], self.id))
        except (RayError, ConnectionError):  # it is away again: the next incarnation is asked again
            return
        gone = [waiter for job_id, waiter in taken if job_id in unknown]
        self._settle_lost(QueueLost(f"queue {self.queue!r} knows the job no more, and its end was not kept"), gone)

    def _open_waiters(self) -> list[tuple[JobId, Waiter]]:
        return [(job_id, waiter) for job_id, waiter in list(self._waiters.items()) if not waiter.settled]

    def _settle_lost(self, error: HoneydewError, waiters: Sequence[Waiter] | None = None) -> None:
        callbacks: list[Callable[[], None]] = []
        with self._changed:
            for waiter in list(self._waiters.values()) if waiters is None else waiters:
                if not waiter.settled:
                    waiter.lost = error
                    callbacks += waiter.callbacks
            self._changed.notify_all()
        for callback in callbacks:
            callback()

    def _check_connection(self) -> None:
        if not ray.is_initialized():  # else Ray would start anew, without the queue
            again = f'get_queue("{self.queue}")'
            raise QueueNotFound(f"this process is no longer connected to Ray; connect, and find the queue again with {again}")

    def _gone(self) -> QueueNotFound:
        return QueueNotFound(f"queue {self.queue!r} is gone; {self._what_is_left()}")

    def _what_is_left(self) -> str:
        if self.durable:
            again = f'start_queue("{self.queue}", store=...)'
            return f"its store keeps its jobs: {again}, where the store can be reached, carries on with them, and its job(id) finds each"
        return f'its store kept nothing; start_queue("{self.queue}") begins anew'


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
            if not isinstance(error, ActorUnavailableError) or time.monotonic() > deadline:
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
