"""A simulated worker group's process: the real supervisor, obeyed as `WorkerGroup` obeys it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from honeydew_ray.actors import names
from honeydew_ray.failure import Failure
from honeydew_ray.placement import NodeView, Plan
from honeydew_ray.roster import Roster, Spoilt
from honeydew_ray.staffing import Action, Init, Kill, Spawn
from honeydew_ray.supervisor import Supervisor
from tests.simulation.cluster import HEAD, Actor, ActorUnavailable, CallFailed, Cluster
from tests.simulation.loop import Process
from tests.simulation.worker import SimWorker, WhoAmI

_LOOK_FOR_QUEUE_S = 0.25
_RESTART_S = 15.0
_ATTEND_S = 30.0
_INIT_TIMEOUT_S = 20.0
_LOOK_AT_NODES_S = 2.0


@dataclass(frozen=True)
class GroupPlan:
    """What each process of one group is made from."""

    queue: str
    group: str
    num: int
    make_worker: Callable[[str, Process], SimWorker]
    new_incarnation: Callable[[], str]
    init_retry_s: float = 1.0
    shutdown_s: float = 1.0
    prefetch: bool = False
    concurrency: int = 1


class SimGroup:
    """Starts, replaces and stops workers as its supervisor decides, and keeps the queue told."""

    def __init__(self, plan: GroupPlan, cluster: Cluster) -> None:
        self._plan = plan
        self._cluster = cluster
        self._incarnation = plan.new_incarnation()
        self._serial = 0
        self._supervisor = Supervisor(Plan(plan.num, plan.num), plan.init_retry_s, self._new_id)
        self._handles: dict[str, Actor] = {}
        self._adopted: set[str] = set()
        self._tasks: set[asyncio.Future[None]] = set()
        self._changed = asyncio.Event()
        self._queue: Actor | None = None
        self._stopping = False

    async def begin(self) -> None:
        living = [name for name, actor in self._cluster.actors.items() if not actor.dead]
        for worker_id in names.workers_among(living, self._plan.queue, self._plan.group):
            self._supervisor.adopted(names.slot_of(worker_id), worker_id)
            self._adopted.add(worker_id)
        self._see_nodes()
        self._do(self._supervisor.start())
        self._spawn_task(self._look_at_nodes())
        self._spawn_task(self._keep_queue_told())
        self._spawn_task(self._attend_queue())

    async def stop(self) -> None:
        """End the workers: a job in hand has ``shutdown_s`` to finish, then it goes back to its queue."""
        self._stopping = True
        worker_ids = self._supervisor.stopping()
        queue = self._queue or self._cluster.find(names.queue_actor(self._plan.queue))
        if queue is not None:
            await self._retire(queue, worker_ids)
        for worker_id in worker_ids:
            self._kill(worker_id)
        await asyncio.sleep(0.1)
        if self._queue is not None:
            with contextlib.suppress(CallFailed):
                await self._cluster.call(self._queue, "remove_group", self._plan.group)

    async def _retire(self, queue: Actor, worker_ids: list[str]) -> None:
        deadline = asyncio.get_running_loop().time() + self._plan.shutdown_s + _RESTART_S
        while asyncio.get_running_loop().time() < deadline:
            try:
                await self._cluster.call(queue, "retire", worker_ids, self._plan.shutdown_s)
                return
            except ActorUnavailable:
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
            except CallFailed:
                return

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Spawn():
                    self._spawn_task(self._bring_up(action.worker_id, action.delay_s))
                case Init():
                    self._spawn_task(self._init(action))
                case Kill():
                    self._kill(action.worker_id)
                case _:
                    raise NotImplementedError(f"no node drains here, and no group follows the load: {action}")
        self._changed.set()

    async def _bring_up(self, worker_id: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self._stopping:
            return
        if self._supervisor.place(worker_id) is None:
            self._changed.set()
            return
        try:
            actor = self._handles[worker_id] = await self._created(worker_id)
            who = await self._who(actor)
            self._do(self._supervisor.spawned(worker_id, who.node, 1, {}, who.epoch, who.attempted))
            await self._watch(actor)
        except CallFailed as error:
            self._kill(worker_id)
            self._handles.pop(worker_id, None)
            self._see_nodes()
            self._do(self._supervisor.died(worker_id, Failure("exit", "WorkerDied", str(error))))

    async def _created(self, worker_id: str) -> Actor:
        name = names.worker_actor(worker_id)
        if worker_id in self._adopted:
            actor = self._cluster.find(name)
            if actor is None:
                raise CallFailed(f"{name} is gone")
            return actor
        actor = Actor(name, lambda process: self._plan.make_worker(worker_id, process))
        await self._cluster.create(actor)
        return actor

    async def _who(self, actor: Actor) -> WhoAmI:
        while True:
            with contextlib.suppress(ActorUnavailable):
                return await self._cluster.call(actor, "who_am_i")
            await asyncio.sleep(_LOOK_FOR_QUEUE_S)

    async def _watch(self, actor: Actor) -> None:
        while True:
            with contextlib.suppress(ActorUnavailable):
                await self._cluster.call(actor, "watch")
            await asyncio.sleep(_LOOK_FOR_QUEUE_S)

    async def _init(self, init: Init) -> None:
        await asyncio.sleep(init.delay_s)
        actor = self._handles.get(init.worker_id)
        if actor is None or self._stopping:
            return
        overdue = asyncio.get_running_loop().call_later(_INIT_TIMEOUT_S, self._init_overdue, init)
        try:
            error = await self._made(actor, init.epoch)
        except CallFailed:
            return
        finally:
            overdue.cancel()
        if error is None:
            self._do(self._supervisor.initialised(init.worker_id, init.epoch))
        else:
            self._do(self._supervisor.init_failed(init.worker_id, init.epoch, error, None))

    async def _made(self, actor: Actor, epoch: int) -> str | None:
        while True:
            with contextlib.suppress(ActorUnavailable):
                return await self._cluster.call(actor, "init", epoch)
            await asyncio.sleep(_LOOK_FOR_QUEUE_S)

    def _init_overdue(self, init: Init) -> None:
        self._do(self._supervisor.init_overdue(init.worker_id, init.epoch, _INIT_TIMEOUT_S))

    def _kill(self, worker_id: str) -> None:
        actor = self._handles.get(worker_id)
        if actor is not None:
            self._cluster.kill(actor)

    async def _attend_queue(self) -> None:
        handled: list[Spoilt] = []
        while not self._stopping:
            try:
                if self._queue is None:
                    self._queue = self._cluster.find(names.queue_actor(self._plan.queue))
                    if self._queue is None:
                        await asyncio.sleep(_LOOK_FOR_QUEUE_S)
                        continue
                    self._changed.set()
                found: list[Spoilt] = await self._cluster.call(self._queue, "attend", self._plan.group, handled, _ATTEND_S)
                handled = [spoilt for spoilt in handled if spoilt.worker_id in self._handles] + found
                for spoilt in found:
                    self._do(self._supervisor.spoilt(spoilt.worker_id, spoilt.epoch))
            except CallFailed:
                self._queue = None
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)

    async def _look_at_nodes(self) -> None:
        while not self._stopping:
            await asyncio.sleep(_LOOK_AT_NODES_S)
            self._see_nodes()

    def _see_nodes(self) -> None:
        living = [NodeView(name) for name, alive in self._cluster.nodes.items() if alive and name != HEAD]
        self._do(self._supervisor.saw_nodes(living, asyncio.get_running_loop().time()))

    async def _keep_queue_told(self) -> None:
        while not self._stopping:
            await self._changed.wait()
            self._changed.clear()
            if self._queue is None or self._stopping:
                continue
            self._serial += 1
            roster = Roster(self._plan.group, self._incarnation, self._serial, self._supervisor.views(), "Worker", frozenset({"work"}),
                            self._plan.prefetch, self._plan.concurrency)
            try:
                await self._cluster.call(self._queue, "update_roster", roster, dict(self._handles))
            except CallFailed:
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
                self._changed.set()

    def _new_id(self, slot: int, number: int) -> str:
        return names.worker_id(self._plan.queue, self._plan.group, slot, f"{number}{self._incarnation}")

    def _spawn_task(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
