"""The queue's way to simulated workers and other queues: what `RayTransport` does, step for step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from honeydew_ray import failpoints
from honeydew_ray.actors import names
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.errors import HoneydewError, QueueNotFound
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, Token
from honeydew_ray.postmortem import by_place
from honeydew_ray.transport import Attempt, Holding, Lost, NotStarted, Raised, Report, Returned, Stopped
from tests.simulation.cluster import Actor, ActorDied, ActorUnavailable, CallFailed, Cluster
from tests.simulation.history import History
from tests.simulation.worker import NOT_STARTED, SEVERAL, Answer, SimWorker, WhoAmI

_RETRY_S = 0.2
_PATIENCE_S = 2.0
_SILENCE_S = 30.0


class SimTransport:
    """Implements `Transport` over the simulated cluster, for one process of one queue."""

    def __init__(self, cluster: Cluster, history: History) -> None:
        self._cluster = cluster
        self._history = history
        self._handles: dict[str, Actor] = {}
        self._settled: dict[str, list[Token]] = {}
        self._strays: list[asyncio.Future[list[Any]]] = []
        self.faults = 0  # of the next attempts, so many are to fail with an error of the transport itself

    def know(self, handles: Mapping[str, Actor]) -> None:
        self._handles.update(handles)

    def forget_all_but(self, worker_ids: set[str], group_prefix: str) -> None:
        for worker_id in [known for known in self._handles if known.startswith(group_prefix) and known not in worker_ids]:
            del self._handles[worker_id]
            self._settled.pop(worker_id, None)

    async def run(self, worker: WorkerRef, attempts: Sequence[Attempt]) -> list[Report]:
        actor = self._handles.get(worker.id)
        if actor is None:
            return [NotStarted(worker_alive=False)] * len(attempts)
        settled = tuple(self._settled.pop(worker.id, ()))
        self._history.note("issued", worker=worker.id, tokens=[attempt.token for attempt in attempts],
                           timeouts_s=[attempt.timeout_s for attempt in attempts])
        if self.faults > 0:
            self.faults -= 1
            self._history.note("fault", what="fault of transport")
            if self.faults % 2:  # in spite of it, the attempts reach the worker
                self._strays.append(asyncio.gather(self._cluster.call(actor, "run", tuple(attempts), settled), return_exceptions=True))
            raise RuntimeError("a fault of the transport")
        running = asyncio.ensure_future(self._cluster.call(actor, "run", tuple(attempts), settled))
        failpoints.hit("disp.post_send")
        return await self._reports(actor, [attempt.token for attempt in attempts], running)

    async def resume(self, worker: WorkerRef, token: Token) -> Report:
        actor = self._handles.get(worker.id)
        if actor is None:
            return NotStarted(worker_alive=False)
        return (await self._reports(actor, [token], asyncio.ensure_future(self._until_answered(actor, token))))[0]

    async def survivors(self, queue: str) -> list[Holding]:
        await asyncio.sleep(0.01)
        living = [name for name, actor in self._cluster.actors.items() if not actor.dead]
        found = await asyncio.gather(*(self._survivor(worker_id) for worker_id in names.workers_among(living, queue)))
        return [holding for holding in found if holding is not None]

    def settled(self, worker: WorkerRef, token: Token) -> None:
        if worker.id in self._handles:
            self._settled.setdefault(worker.id, []).append(token)

    async def take_back(self, worker: WorkerRef, tokens: Sequence[Token]) -> list[Report | None]:
        actor = self._handles.get(worker.id)
        while actor is not None:
            try:
                answers: list[Answer | None] = await self._cluster.call(actor, "take_back", tuple(tokens))
                return [None if answer is None else _report(answer) for answer in answers]
            except ActorUnavailable:
                await asyncio.sleep(_RETRY_S)
            except CallFailed:
                break
        return [None] * len(tokens)

    async def stop(self, worker: WorkerRef, token: Token) -> bool:
        actor = self._handles.get(worker.id)
        if actor is not None:
            with contextlib.suppress(CallFailed):
                return await self._cluster.call(actor, "stop", token)
        return False

    async def wait_idle(self, worker: WorkerRef) -> bool:
        actor = self._handles.get(worker.id)
        while actor is not None:
            try:
                idle: bool | None = await self._cluster.call(actor, "wait_idle", _PATIENCE_S)
                if idle:
                    return True
                if idle is None:
                    await self._end(actor)
                    return False
            except ActorUnavailable:
                await asyncio.sleep(_RETRY_S)
            except CallFailed:
                return False
        return False

    def kill(self, worker: WorkerRef) -> None:
        actor = self._handles.get(worker.id)
        if actor is not None:
            self._cluster.kill(actor)

    async def end(self, worker: WorkerRef) -> None:
        actor = self._handles.get(worker.id)
        if actor is not None:
            await self._end(actor)

    async def enqueue(self, queue: str, jobs: Sequence[JobRecord]) -> None:
        await asyncio.sleep(0.005)
        actor = self._cluster.find(names.queue_actor(queue))
        if actor is None:
            raise QueueNotFound(f"no queue {queue!r}")
        while True:
            try:
                await self._cluster.call(actor, "arrive", list(jobs))
                return
            except ActorUnavailable:
                await asyncio.sleep(_RETRY_S)
            except ActorDied as error:
                raise HoneydewError(f"queue {queue!r} died while it was given jobs") from error

    # ------------------------------------------------------------------------------------------

    async def _survivor(self, worker_id: str) -> Holding | None:
        actor = self._cluster.find(names.worker_actor(worker_id))
        if actor is None:
            return None
        try:
            who: WhoAmI = await asyncio.wait_for(self._cluster.call(actor, "who_am_i"), _SILENCE_S)
            tokens = await asyncio.wait_for(self._cluster.call(actor, "holding"), _SILENCE_S)
        except (CallFailed, asyncio.TimeoutError):
            await self._end(actor)
            return None
        self._handles.setdefault(worker_id, actor)
        return Holding(WorkerRef(worker_id, who.node), tuple(tokens))

    async def _reports(self, actor: Actor, tokens: Sequence[Token], running: asyncio.Future[list[Answer]]) -> list[Report]:
        try:
            return [_report(answer) for answer in await running]
        except ActorUnavailable:
            return await self._out_of_sight(actor, tokens)
        except CallFailed:
            return await self._examine(actor, tokens)
        except Exception as error:
            return [Raised(Failure.from_exception(error))] * len(tokens)

    async def _out_of_sight(self, actor: Actor, tokens: Sequence[Token]) -> list[Report]:
        """A connection broke: ask the worker what it has, until it answers, is dead, or has to be killed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SILENCE_S
        while loop.time() < deadline:
            try:
                answers = await asyncio.wait_for(self._cluster.call(actor, "take_back", tuple(tokens)), deadline - loop.time())
                kinds = {"runs" if answer is None else "was not begun" if answer == NOT_STARTED else "is over" for answer in answers}
                self._history.note("case", what=f"an attempt asked back {min(kinds)}")
                return [await self._answer(actor, *pair) for pair in zip(tokens, answers, strict=True)]
            except ActorUnavailable:
                await asyncio.sleep(_RETRY_S)
            except asyncio.TimeoutError:
                break
            except CallFailed:
                return await self._examine(actor, tokens)
        self._history.note("case", what="a worker out of sight is killed")
        await self._end(actor)
        return [Lost(Failure("unresponsive", "WorkerUnavailable", "the worker stopped answering and was killed"))] * len(tokens)

    async def _answer(self, actor: Actor, token: Token, answer: Answer | None) -> Report:
        if answer is not None:
            return _report(answer)
        return (await self._reports(actor, [token], asyncio.ensure_future(self._until_answered(actor, token))))[0]

    async def _bury(self, actor: Actor) -> None:
        """Make sure that a worker that is declared dead is dead, unless its node is out of reach."""
        await asyncio.sleep(0.01)
        process = actor.process
        if process is not None and process.node not in self._cluster.cut_off:
            process.kill()

    async def _examine(self, actor: Actor, tokens: Sequence[Token]) -> list[Report]:
        """What the coroner finds."""
        if actor.node_lost:
            return [Lost(Failure("node_lost", "NodeLost", "its node is gone"))] * len(tokens)
        await self._bury(actor)
        worker: SimWorker | None = actor.instance
        if worker is None:
            return [NotStarted(worker_alive=False)] * len(tokens)
        if worker.box == SEVERAL:
            return [Lost(Failure("signal", "WorkerDied", "the worker died while several jobs were in hand"))] * len(tokens)
        begun = tokens.index(worker.box) if worker.box in tokens else None
        return by_place(tokens, begun, worker.end or Failure("signal", "WorkerKilled", "SIGKILL", signal=9))

    async def _end(self, actor: Actor) -> None:
        while True:
            self._cluster.kill(actor)
            try:
                await self._cluster.call(actor, "who_am_i")
            except ActorUnavailable:
                pass
            except CallFailed:
                break
            await asyncio.sleep(_RETRY_S)
        await self._bury(actor)

    async def _until_answered(self, actor: Actor, token: Token) -> list[Answer]:
        while True:
            answer = await self._cluster.call(actor, "answer_of", token, _PATIENCE_S)
            if answer is not None:
                return [answer]


def _report(answer: Answer) -> Report:
    if answer.failure is not None:
        return Raised(answer.failure, answer.spoilt)
    if answer.stopped:
        return Stopped()
    return NotStarted(worker_alive=True, spoilt=answer.spoilt) if answer.result is None else Returned(answer.result, answer.ran_s)
