"""The handles of a queue that runs in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from honeydew_ray.actors import objects
from honeydew_ray.actors.client import QueueClient
from honeydew_ray.actors.delivery import Delivery
from honeydew_ray.errors import JobNotFound, QueueLost, QueueNotFound, WorkersNotFound
from honeydew_ray.event_log import EventPage
from honeydew_ray.event_stream import EventStream
from honeydew_ray.events import EventKind, expect_kinds
from honeydew_ray.job import JobId, JobSnapshot
from honeydew_ray.protocol import QueueInfo, Row, Submission, new_job
from honeydew_ray.queue import Queue
from honeydew_ray.queue_core import QueueCore
from honeydew_ray.readiness import ready_within
from honeydew_ray.waiters import Waiter

if TYPE_CHECKING:
    from honeydew_ray.testing.inline import Inline


class InlineQueue(Queue):
    """A queue that runs here: all that `Queue` has, and the test's hands on it, ``run``, ``step`` and ``advance``."""

    def __init__(self, world: Inline, client: InlineClient) -> None:
        super().__init__(client)
        self._world = world

    def __reduce__(self) -> tuple[Any, ...]:
        return _queue_again, (self._world.key, self.name)

    def start_workers(self, cls: type[Any] | None = None, *args: Any, **options: Any) -> None:
        """Start workers for this queue: see `honeydew.start_workers`."""
        self._world.start_workers(self.name, cls, *args, **options)

    def stop_workers(self, group: str = "default") -> None:
        """Stop a group of this queue's workers: see `honeydew.stop_workers`."""
        self._world.stop_workers(self.name, group)

    def stop(self, *, drain: bool = False, timeout: float | None = None) -> None:
        """End the queue and its workers: see `Queue.stop`."""
        if drain:
            self._client.call("drain", timeout)
        for group in self._world.groups_of(self.name):
            with contextlib.suppress(WorkersNotFound):  # a subscriber stopped it meanwhile
                self._world.stop_workers(self.name, group)
        self._world.end(self.name)
        self._client.close()

    def events(self, *, history: bool = False, follow: bool = True, kinds: Iterable[EventKind | str] = ()) -> EventStream:
        """What happens in this queue: see `Queue.events`. Reading on runs what is due; the stream ends when nothing is left to run."""
        source = _Running(self._world, self._client) if follow else self._client
        return EventStream(source, history=history, follow=False, kinds=expect_kinds("events", kinds))

    def run(self) -> int:
        """Run what is due now, in all queues here: see `Inline.run`."""
        return self._world.run()

    def step(self) -> bool:
        """Run the next attempt: see `Inline.step`."""
        return self._world.step()

    def advance(self, seconds: float) -> None:
        """Let time pass: see `Inline.advance`."""
        self._world.advance(seconds)


class InlineClient(QueueClient):
    """The client of a queue in this process: the calls of `QueueClient`, made on the core itself."""

    def __init__(self, world: Inline, queue: str, incarnation: str) -> None:
        super().__init__(queue, None, QueueInfo(incarnation, durable=False))
        self._world = world

    def __reduce__(self) -> tuple[Any, ...]:
        return _client_again, (self._world.key, self.queue)

    def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call the core."""
        if method == "wait_for_workers":
            return self._world.finish(ready_within(self._core.workforce, *args))
        return self._world.finish(getattr(self._core, method)(*args))

    def deliver(self, common: Submission, rows: Sequence[Row], buffers: Sequence[Any], waiters: Sequence[Waiter],
                timeout_s: float) -> Delivery:
        """Jobs for the queue; it takes them when the delivery is confirmed."""
        return _Delivery(lambda: self._take(common, rows, buffers, waiters, timeout_s))

    def _take(self, common: Submission, rows: Sequence[Row], buffers: Sequence[Any], waiters: Sequence[Waiter],
              timeout_s: float) -> None:
        core, owned = self._core, iter(objects.hold(buffers))
        jobs = [new_job(core.name, common, row, owned, self._world.now) for row in rows]
        self._world.finish(core.enqueue(jobs, patience_s=timeout_s if common.patience_s else 0.0))
        for waiter in waiters:
            waiter.incarnation = core.incarnation

    def events(self, incarnation: str | None, after: int, limit: int, patience_s: float) -> EventPage:
        """What happened after a number of an incarnation."""
        return self._core.events.read(incarnation, after, limit)

    def other(self, queue: str) -> InlineClient:
        """The client of another queue here; raises `QueueNotFound`."""
        return self._world.client_of(queue)

    def follow(self, job_id: JobId, timeout_s: float | None = None) -> Waiter:
        """A waiter for the end of a job that is in the queue; raises `JobNotFound`."""
        waiter = self.expect(job_id)
        if not waiter.settled and self.call("expect", [job_id], self.id):
            raise JobNotFound(f"queue {self.queue!r} does not know job {job_id}, or no longer keeps its result")
        return waiter

    def wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Run what is due until the waiter is settled; False if ``timeout_s`` virtual seconds pass first."""
        if not waiter.settled:
            with contextlib.suppress(asyncio.TimeoutError):
                self._world.finish(asyncio.wait_for(_settled(waiter), timeout_s))
        return waiter.settled

    def when_settled(self, waiter: Waiter, callback: Any) -> None:
        """Run what is due until the waiter is settled, then call back."""
        self.wait(waiter, None)
        callback()

    def take_in(self, end: JobSnapshot) -> None:
        """A job ended."""
        self._waiters.ended([end])

    def close(self) -> None:
        """The queue is gone: those who wait for it never will hear."""
        lost = QueueLost(f"queue {self.queue!r} was stopped before the job ended; its store kept nothing")
        self._waiters.lose(lost)

    def _start_polling(self) -> None:
        """Ends are delivered as they come."""

    @property
    def _core(self) -> QueueCore:
        return self._world.core_of(self.queue)


class _Delivery(Delivery):
    """Jobs that the queue takes when asked to."""

    def __init__(self, confirm: Callable[[], None]) -> None:
        self.large = True  # so that one chunk is taken before the next is made
        self._take = confirm

    def confirm(self) -> None:
        """Have the queue take them. Raises what the queue raises."""
        self._take()


class _Running:
    """Events of a queue; asked for more, it runs what is due first."""

    def __init__(self, world: Inline, client: QueueClient) -> None:
        self._world = world
        self._client = client

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._client.queue

    def events(self, incarnation: str | None, after: int, limit: int, patience_s: float) -> EventPage:
        """What happened, once all that is due has run."""
        if incarnation is not None:
            self._world.run()
        return self._client.events(incarnation, after, limit, patience_s)


worlds: WeakValueDictionary[str, Inline] = WeakValueDictionary()
"""Those of this process, by their keys: handles are pickled on the way into a job and find their way back."""


def _queue_again(key: str, queue: str) -> InlineQueue:
    return _world(key, queue).get_queue(queue)


def _client_again(key: str, queue: str) -> InlineClient:
    return _world(key, queue).client_of(queue)


def _world(key: str, queue: str) -> Inline:
    world = worlds.get(key)
    if world is None:
        raise QueueNotFound(f"inline queue {queue!r} is gone, or lives in another process; what is sent to other processes needs Ray")
    return world


async def _settled(waiter: Waiter) -> None:
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle() -> None:
        if not settled.done():
            settled.set_result(None)

    waiter.callbacks.append(settle)
    if not waiter.settled:
        await settled
