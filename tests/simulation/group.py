"""A simulated worker group's process: the real supervisor, obeyed as `WorkerGroup` obeys it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from functools import partial
from typing import Any

from honeydew_ray.actors import names
from honeydew_ray.departures import Departures
from honeydew_ray.errors import HoneydewError
from honeydew_ray.failure import Failure
from honeydew_ray.placement import NodeView, Place
from honeydew_ray.roster import Load, Roster, Spoilt, WorkerView
from honeydew_ray.staffing import Action, Dismiss, Fence, Init, Kill, Retire, Spawn
from honeydew_ray.supervisor import Supervisor
from tests.simulation.cluster import HEAD, Actor, ActorUnavailable, CallFailed, CallRaised, Cluster
from tests.simulation.group_plan import GroupPlan
from tests.simulation.history import History
from tests.simulation.probe import SimProbe
from tests.simulation.worker import WhoAmI

_LOOK_FOR_QUEUE_S = 0.25
_RESTART_S = 15.0
_ATTEND_S = 30.0
_INIT_TIMEOUT_S = 20.0
_LOOK_AT_NODES_S = 2.0
_LOOK_AT_LOAD_S = 1.0


class SimGroup:
    """Starts, replaces and stops workers as its supervisor decides, and keeps the queue told."""

    def __init__(self, plan: GroupPlan, cluster: Cluster, history: History) -> None:
        self._plan = plan
        self._cluster = cluster
        self._history = history
        self._incarnation = plan.new_incarnation()
        self._serial = 0
        self._supervisor = Supervisor(plan.staff, plan.init_retry_s, self._new_id)
        self._views: tuple[WorkerView, ...] = ()
        self._handles: dict[str, Actor] = {}
        self._creations: set[asyncio.Future[Any]] = set()
        self._adopted: set[str] = set()
        self._tasks: set[asyncio.Future[None]] = set()
        self._changed = asyncio.Event()
        self._queue: Actor | None = None
        self._started: asyncio.Future[None] | None = None
        self._stopping = False
        self._departures = Departures(self._incarnation, self._ask_queue, self._kill, self._dismissed)

    async def begin(self) -> None:
        """Begin; again does nothing."""
        if self._started is None:
            self._started = asyncio.ensure_future(self._start())
        await self._started

    async def _start(self) -> None:
        living = [name for name, actor in self._cluster.actors.items() if not actor.dead]
        for worker_id in names.workers_among(living, self._plan.queue, self._plan.group):
            self._supervisor.adopted(names.slot_of(worker_id), worker_id)
            self._adopted.add(worker_id)
        self._see_nodes()
        self._do(self._supervisor.start())
        for duty in (self._look_at_nodes, self._look_at_load, self._keep_queue_told, self._attend_queue):
            self._spawn_task(duty())

    async def stop(self) -> None:
        """End the workers: a job in hand has ``shutdown_s`` to finish, then it goes back to its queue."""
        await self.begin()
        self._stopping = True
        self._history.note("group_stopping", queue=self._plan.queue)
        await asyncio.gather(*self._creations, return_exceptions=True)
        for worker_id in sorted(self._adopted - self._handles.keys()):
            self._find_again(worker_id)
        worker_ids = self._supervisor.stopping()
        queue = self._queue or self._cluster.find(names.queue_actor(self._plan.queue))
        if queue is not None:
            await self._retire(queue, worker_ids)
        await asyncio.gather(*map(self._end, worker_ids))
        if queue is not None:
            with contextlib.suppress(CallFailed):
                await self._ask(queue, "remove_group", self._plan.group)
        self._cluster.kill(self._cluster.actors[names.group_actor(self._plan.queue, self._plan.group)])

    async def _retire(self, queue: Actor, worker_ids: list[str]) -> None:
        deadline = asyncio.get_running_loop().time() + self._plan.shutdown_s + _RESTART_S
        while asyncio.get_running_loop().time() < deadline:
            try:
                await self._ask(queue, "retire", worker_ids, self._incarnation, self._plan.shutdown_s)
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
                case Retire():
                    self._spawn_task(self._departures.let_go(action))
                case Dismiss():
                    self._history.note("dismissing", queue=self._plan.queue, worker=action.worker_id)
                    self._spawn_task(self._departures.dismiss(action.worker_id))
                case Fence():
                    self._history.note("fenced", worker=action.worker_id)
                    self._spawn_task(self._departures.fence(action.worker_id, partial(self._end, action.worker_id)))
        views = self._supervisor.views()
        if views != self._views:
            self._note_staff(actions, views)
            self._views = views
            self._changed.set()

    def _note_staff(self, actions: list[Action], views: tuple[WorkerView, ...]) -> None:
        """For whoever judges how many workers there are: those that leave do not count."""
        added = [action.worker_id for action in actions if isinstance(action, Spawn)]
        staff = [view.ref.id for view in views if str(view.state) != "draining"]
        if added and self._views:
            self._history.note("staffed", queue=self._plan.queue, group=self._plan.group, added=added, staff=staff)

    async def _bring_up(self, worker_id: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self._stopping:
            return
        place = self._supervisor.place(worker_id)
        self._do([])
        if place is None:
            return
        probe: asyncio.Future[None] | None = None
        try:
            actor = self._handles[worker_id] = await self._created(worker_id, place)
            who: WhoAmI = await self._insist(actor, "who_am_i")
            self._do(self._supervisor.spawned(worker_id, who.node, 1, {}, who.epoch, who.attempted))
            probe = self._spawn_task(self._probe(worker_id, SimProbe(self._cluster, actor, self._plan.probe_timeout_s)))
            await self._watch(actor)
        except CallFailed as error:
            if probe is not None:
                probe.cancel()
            self._kill(worker_id)
            self._handles.pop(worker_id, None)
            self._see_nodes()
            self._do(self._supervisor.died(worker_id, Failure("exit", "WorkerDied", str(error))))

    async def _created(self, worker_id: str, place: Place) -> Actor:
        creation = asyncio.ensure_future(self._create(worker_id, place))
        self._creations.add(creation)
        try:
            return await creation
        finally:
            self._creations.discard(creation)

    async def _create(self, worker_id: str, place: Place) -> Actor:
        name = names.worker_actor(worker_id)
        if worker_id in self._adopted:
            actor = self._cluster.find(name)
            if actor is None:
                raise CallFailed(f"{name} is gone")
            return actor
        home, aim = (place.node, None) if place.only else (None, place.node)
        actor = Actor(name, lambda process: self._plan.make_worker(worker_id, process), home=home, aim=aim)
        await self._cluster.create(actor)
        return actor

    async def _insist(self, actor: Actor, method: str, *args: Any) -> Any:
        while True:
            with contextlib.suppress(ActorUnavailable):
                return await self._cluster.call(actor, method, *args)
            await asyncio.sleep(_LOOK_FOR_QUEUE_S)

    async def _watch(self, actor: Actor) -> None:
        while True:
            await self._insist(actor, "watch")
            await asyncio.sleep(_LOOK_FOR_QUEUE_S)

    async def _probe(self, worker_id: str, probe: SimProbe) -> None:
        with contextlib.suppress(CallFailed):
            while True:
                silent_s, computed_s = await probe.silence()
                self._history.note("silent", worker=worker_id, silent_s=silent_s, computed_s=computed_s)
                self._do(self._supervisor.unheard(worker_id, silent_s, computed_s))

    async def _init(self, init: Init) -> None:
        await asyncio.sleep(init.delay_s)
        actor = self._handles.get(init.worker_id)
        if actor is None or self._stopping:
            return
        overdue = asyncio.get_running_loop().call_later(
            _INIT_TIMEOUT_S, lambda: self._do(self._supervisor.init_overdue(init.worker_id, init.epoch, _INIT_TIMEOUT_S)))
        try:
            error: str | None = await self._insist(actor, "init", init.epoch)
        except CallFailed:
            return
        finally:
            overdue.cancel()
        if error is None:
            self._do(self._supervisor.initialised(init.worker_id, init.epoch))
        else:
            self._do(self._supervisor.init_failed(init.worker_id, init.epoch, error, None))

    async def _ask_queue(self, method: str, *args: Any) -> Any:
        """What the queue answers, through restarts of its process; None if it is gone."""
        while not self._stopping:
            queue = self._queue or self._cluster.find(names.queue_actor(self._plan.queue))
            if queue is None:
                return None
            try:
                return await self._ask(queue, method, *args)
            except ActorUnavailable:
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
            except CallFailed:
                return None
        return None

    async def _end(self, worker_id: str) -> None:
        """Kill a worker and return when its process has ended, unless its node is out of reach."""
        actor = self._handles.get(worker_id) or self._find_again(worker_id)
        self._kill(worker_id)
        await asyncio.sleep(0.05)
        if actor is not None and actor.process is not None and actor.process.node not in self._cluster.cut_off:
            actor.process.kill()

    def _dismissed(self, worker_id: str) -> None:
        self._do(self._supervisor.dismissed(worker_id))

    def _find_again(self, worker_id: str) -> Actor | None:
        actor = self._cluster.find(names.worker_actor(worker_id))
        if actor is not None:
            self._handles[worker_id] = actor
        return actor

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
                found: list[Spoilt] = await self._ask(self._queue, "attend", self._plan.group, handled, _ATTEND_S)
                handled = [spoilt for spoilt in handled if spoilt.worker_id in self._handles] + found
                for spoilt in found:
                    leaves, worker_id = spoilt.leaves, spoilt.worker_id
                    self._do(self._supervisor.stranded(worker_id) if leaves else self._supervisor.spoilt(worker_id, spoilt.epoch))
            except CallFailed:
                self._queue = None
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)

    async def _look_at_nodes(self) -> None:
        while not self._stopping:
            await asyncio.sleep(_LOOK_AT_NODES_S)
            self._see_nodes()

    def _see_nodes(self) -> None:
        living = [NodeView(name, leaves_at=self._cluster.draining.get(name)) for name in self._cluster.nodes
                  if self._cluster.is_alive(name) and name != HEAD]
        self._do(self._supervisor.saw_nodes(living, self._plan.clock.now()))

    async def _ask(self, queue: Actor, method: str, *args: object) -> Any:
        """Call the queue; its own errors come as failed calls, as they do over Ray."""
        try:
            return await self._cluster.call(queue, method, *args)
        except HoneydewError as error:
            raise CallRaised(str(error)) from error

    async def _look_at_load(self) -> None:
        while not self._stopping:
            await asyncio.sleep(_LOOK_AT_LOAD_S)
            if self._supervisor.follows_load and self._queue is not None:
                with contextlib.suppress(CallFailed):
                    load: Load = await self._ask(self._queue, "load", self._plan.group)
                    self._do(self._supervisor.saw_load(load.waiting, load.idle, asyncio.get_running_loop().time()))

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
                await self._ask(self._queue, "update_roster", roster, dict(self._handles))
            except CallFailed:
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
                self._changed.set()

    def _new_id(self, slot: int, number: int) -> str:
        return names.worker_id(self._plan.queue, self._plan.group, slot, f"{number}{self._incarnation}")

    def _spawn_task(self, work: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
