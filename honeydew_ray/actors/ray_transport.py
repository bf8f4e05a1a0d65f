"""The queue's way over Ray to workers and to other queues."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from honeydew_ray import failpoints
from honeydew_ray.actors import cluster, names, objects
from honeydew_ray.actors.autopsy import Coroner
from honeydew_ray.actors.away import is_away_async
from honeydew_ray.actors.wire import pack, unpack
from honeydew_ray.actors.worker_actor import Answer
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.errors import HoneydewError
from honeydew_ray.failure import Failure, exception_text
from honeydew_ray.job import JobRecord, Token
from honeydew_ray.payload import Payload
from honeydew_ray.transport import Attempt, Holding, Lost, NotStarted, Raised, Report, Returned, Stopped

_RETRY_S = 0.2
_MOST_METHODS = 1000
_PATIENCE_S = 2.0  # of a call that waits in a worker: if the queue's process dies, the worker's thread must not wait for ever
_SILENCE_S = 30.0  # how long a worker may take to say what it holds: its job may hold the interpreter for a while


class RayTransport:
    """Calls workers by the handles that their groups handed in; implements `Transport`."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}
        self._settled: dict[str, list[tuple[Any, ...]]] = {}  # by worker: what to tell it with its next job
        self._of_large: set[str] = set()  # methods whose results have large buffers
        self._coroner = Coroner(ray.get_runtime_context().get_node_id())

    def know(self, handles: Mapping[str, Any]) -> None:
        """Learn the actor handles of workers, by worker id."""
        self._handles.update(handles)

    def forget_all_but(self, worker_ids: set[str], group_prefix: str) -> None:
        """Drop the handles of a group's workers that are no more."""
        for worker_id in [known for known in self._handles if known.startswith(group_prefix) and known not in worker_ids]:
            del self._handles[worker_id]
            self._settled.pop(worker_id, None)

    async def run(self, worker: WorkerRef, attempts: Sequence[Attempt]) -> list[Report]:
        """Issue attempts to a free worker and wait until it is done with all, however they end."""
        handle = self._handles.get(worker.id)
        if handle is None:  # its group dropped it after it was chosen
            return [NotStarted(worker_alive=False)] * len(attempts)
        rows = [(tuple(token), method, is_function, arguments.data, timeout_s)
                for token, method, is_function, arguments, timeout_s in attempts]
        lease = pack((self._settled.pop(worker.id, ()), rows))
        buffers = attempts[0].payload.buffers  # a job with large buffers has a lease of its own
        arguments = (lease, buffers) if buffers else (lease,)
        method = attempts[0].method if len(attempts) == 1 else None
        if method in self._of_large:
            running, large = handle.run_large.remote(*arguments)
        else:
            running, large = handle.run.remote(*arguments), None
        failpoints.hit("disp.post_send")
        reports = await self._reports(worker, handle, [attempt.token for attempt in attempts], running, large)
        if method is not None:
            self._learn(method, reports[0])
        return reports

    async def resume(self, worker: WorkerRef, token: Token) -> Report:
        """Wait for the end of an attempt that an earlier process of this queue issued, and that the worker holds."""
        handle = self._handles.get(worker.id)
        if handle is None:
            return NotStarted(worker_alive=False)
        return (await self._reports(worker, handle, [token], _until_answered(handle, token)))[0]

    async def survivors(self, queue: str) -> list[Holding]:
        """The workers that outlived an earlier process of this queue, and what they hold."""
        actor_names = await asyncio.to_thread(cluster.actor_names)
        found = await asyncio.gather(*(self._survivor(worker_id) for worker_id in names.workers_among(actor_names, queue)))
        return [holding for holding in found if holding is not None]

    async def _survivor(self, worker_id: str) -> Holding | None:
        handle = await asyncio.to_thread(cluster.find_worker, worker_id)
        if handle is None:
            return None
        try:
            who = await asyncio.wait_for(handle.who_am_i.remote(), _SILENCE_S)
            tokens = await asyncio.wait_for(handle.holding.remote(), _SILENCE_S)
        except (RayError, asyncio.TimeoutError):  # dead, or as good as dead: what it holds will be given to others
            await self._end(WorkerRef(worker_id, await asyncio.to_thread(cluster.node_of, handle)), handle)
            return None
        self._handles.setdefault(worker_id, handle)
        return Holding(WorkerRef(worker_id, who.node, who.labels), tuple(tokens))

    def _learn(self, method: str, report: Report) -> None:
        """Whether a method's results are large shows in its latest one."""
        if isinstance(report, Returned) and report.result is not None and report.result.buffers:
            if len(self._of_large) < _MOST_METHODS:
                self._of_large.add(method)
        else:
            self._of_large.discard(method)

    async def _reports(self, worker: WorkerRef, handle: Any, tokens: Sequence[Token], running: Any, large: Any = None) -> list[Report]:
        """What became of attempts; ``large``: the object of the large buffers of the only one's result, if it comes with the answer."""
        try:
            answers: list[bytes] = unpack(await running)
            return [await self._report(handle, token, answer, large) for token, answer in zip(tokens, answers, strict=True)]
        except ActorUnavailableError as error:
            return await self._out_of_sight(worker, handle, tokens, error)
        except RayTaskError as error:  # not a job's: run() reports those; the call itself could not be made
            return [Raised(Failure.from_exception(error))] * len(tokens)
        except RayError as error:
            return await self._coroner.examine(worker, tokens, error)

    async def _report(self, handle: Any, token: Token, packed: bytes, large: Any = None) -> Report:
        answer = Answer(*unpack(packed))
        if answer.failure is not None:
            return Raised(answer.failure, answer.spoilt)
        if answer.stopped:
            return Stopped()
        if answer.result is None:
            return NotStarted(worker_alive=True, spoilt=answer.spoilt)
        if answer.buffer_sizes and large is None:
            large = handle.fetch.remote(token)
            await large
        return Returned(Payload(answer.result, objects.returned(large, answer.buffer_sizes)), answer.ran_s)

    def settled(self, worker: WorkerRef, token: Token) -> None:
        """The store has what came of an attempt: the worker need not keep its answer."""
        if worker.id in self._handles:
            self._settled.setdefault(worker.id, []).append(tuple(token))

    async def take_back(self, worker: WorkerRef, tokens: Sequence[Token]) -> list[Report | None]:
        """Take attempts back, those that have not started; for each a report, or None."""
        handle = self._handles.get(worker.id)
        while handle is not None:
            try:
                answers: list[bytes | None] = await handle.take_back.remote(tokens)
                return [None if answer is None else await self._report(handle, token, answer)
                        for token, answer in zip(tokens, answers, strict=True)]
            except ActorUnavailableError:  # they may start yet, so the answer is not known
                await asyncio.sleep(_RETRY_S)
            except RayError:  # dead: the call that issued them hears of it too
                break
        return [None] * len(tokens)

    async def stop(self, worker: WorkerRef, token: Token) -> bool:
        """Stop one job that runs, and no other; whether the worker can do that, and was told."""
        handle = self._handles.get(worker.id)
        if handle is not None:
            with contextlib.suppress(RayError):
                return await handle.stop.remote(token)
        return False

    async def wait_idle(self, worker: WorkerRef) -> bool:
        """Wait until the worker runs nothing; False if it died first."""
        handle = self._handles.get(worker.id)
        while handle is not None:
            try:
                idle: bool | None = await handle.wait_idle.remote(_PATIENCE_S)
                if idle:
                    return True
                if idle is None:
                    await self._end(worker, handle)
                    return False
            except ActorUnavailableError:
                await asyncio.sleep(_RETRY_S)
            except RayError:
                return False
        return False

    def kill(self, worker: WorkerRef) -> None:
        """End the worker's process at once."""
        handle = self._handles.get(worker.id)
        if handle is not None:
            with contextlib.suppress(Exception):  # dead already
                ray.kill(handle, no_restart=True)

    async def end(self, worker: WorkerRef) -> None:
        """End the worker's process, and return when it has ended; if its node is out of reach, when Ray says that it has."""
        handle = self._handles.get(worker.id)
        if handle is not None:
            await self._end(worker, handle)

    async def enqueue(self, queue: str, jobs: Sequence[JobRecord]) -> None:
        """Give jobs to another queue; tries again until it is clear that they are there, or are not."""
        handle = await asyncio.to_thread(cluster.find_queue, queue)
        bare = [job._replace(payload=Payload(job.payload.data), last_error=_without_exception(job.last_error)) for job in jobs]
        counts = [len(job.payload.buffers) for job in jobs]
        buffers = [buffer for job in jobs for buffer in objects.forwarded(job.payload)]
        while True:
            try:
                await handle.arrive.remote(bare, counts, *buffers)
                return
            except RayTaskError as error:
                raise unwrapped(error) from None
            except RayError as error:
                if not await is_away_async(handle, error):
                    raise HoneydewError(f"queue {queue!r} could not be given the jobs: {exception_text(error)}") from None
                await asyncio.sleep(_RETRY_S)  # they may have arrived; the same ids again do no harm

    async def _out_of_sight(self, worker: WorkerRef, handle: Any, tokens: Sequence[Token], error: Exception) -> list[Report]:
        """A connection broke, which is not a death: ask the worker what it has, until it answers, is dead, or has to be killed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SILENCE_S
        while loop.time() < deadline:
            try:
                answers: list[bytes | None] = await asyncio.wait_for(handle.take_back.remote(tokens), deadline - loop.time())
                return [await self._answer(worker, handle, *pair) for pair in zip(tokens, answers, strict=True)]
            except ActorUnavailableError:
                await asyncio.sleep(_RETRY_S)
            except asyncio.TimeoutError:
                break
            except RayError as death:
                return await self._coroner.examine(worker, tokens, death)
        return [await self._fenced(worker, handle, error)] * len(tokens)

    async def _answer(self, worker: WorkerRef, handle: Any, token: Token, answer: bytes | None) -> Report:
        """The report on an attempt that was asked back: if it runs, wait for its end."""
        if answer is not None:
            return await self._report(handle, token, answer)
        return (await self._reports(worker, handle, [token], _until_answered(handle, token)))[0]

    async def _fenced(self, worker: WorkerRef, handle: Any, error: Exception) -> Report:
        """Out of sight is not dead: kill the worker, and return once it is known to be dead."""
        await self._end(worker, handle)
        return Lost(Failure("unresponsive", "WorkerUnavailable", f"the worker stopped answering and was killed: {exception_text(error)}"))

    async def _end(self, worker: WorkerRef, handle: Any) -> None:
        """Kill a worker until Ray says that it is dead, and then make sure of it: Ray says so a little before the process has ended."""
        while True:
            with contextlib.suppress(Exception):  # dead already
                ray.kill(handle, no_restart=True)
            try:
                await handle.who_am_i.remote()
            except ActorUnavailableError:
                pass
            except RayError:
                break
            await asyncio.sleep(_RETRY_S)
        with contextlib.suppress(Exception):  # its node is out of reach, or not known: Ray's word must do
            await self._coroner.bury(worker)


async def _until_answered(handle: Any, token: Token) -> bytes:
    while True:
        answer: bytes | None = await handle.answer_of.remote(token, _PATIENCE_S)
        if answer is not None:
            return pack([answer])


def unwrapped(error: RayTaskError) -> Exception:
    """Our own error, or a time-out, out of Ray's wrapping; any other as it is."""
    cause: Any = error.cause
    return cause if isinstance(cause, (HoneydewError, TimeoutError)) else error


def _without_exception(failure: Failure | None) -> Failure | None:
    return None if failure is None else replace(failure, exception=None)
