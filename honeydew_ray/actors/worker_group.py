"""A worker group's process: starts, replaces and stops the workers of one ``start_workers`` call."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from honeydew_ray.actors import autopsy, blackbox, cluster, hiring, keeping, names, nodes
from honeydew_ray.actors.away import is_away
from honeydew_ray.actors.liaison import Liaison
from honeydew_ray.actors.probe import Probe
from honeydew_ray.actors.worker_actor import InitFailed, WhoAmI, WorkerSpec
from honeydew_ray.departures import Departures
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure, exception_text
from honeydew_ray.placement import NodeView, Place, Plan
from honeydew_ray.roster import Roster, Spoilt, WorkerView
from honeydew_ray.staffing import Action, Dismiss, Fence, Init, Kill, Retire, Spawn
from honeydew_ray.supervisor import Supervisor

_LOOK_AGAIN_S = 0.25
_LOOK_AT_NODES_S = 1.0
_LOOK_AT_LOAD_S = 0.5
_INTRODUCE_S = 5.0


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """What a worker group is made from, each time its process starts; a large state of its workers is ``kept`` elsewhere."""

    queue: str
    group: str
    plan: Plan
    worker: WorkerSpec
    class_name: str | None
    methods: frozenset[str] | None
    init_retry_s: float
    init_timeout_s: float
    shutdown_s: float
    probe_timeout_s: float
    ray_options: Mapping[str, Any]
    prefetch: bool = False
    kept: keeping.Kept | None = None


class WorkerGroup:
    """Does what its supervisor decides, and keeps the queue told of how its workers stand.

    Workers are detached and never restarted by Ray: a worker's process is one incarnation. If the
    group's own process dies, Ray starts it again and it takes over the workers that live.
    """

    def __init__(self, spec: GroupSpec) -> None:
        self._spec = spec if spec.kept is None else replace(spec, worker=replace(spec.worker, state=spec.kept.load()))
        self._incarnation = uuid.uuid4().hex[:12]
        self._serial = 0
        self._supervisor = Supervisor(spec.plan, spec.init_retry_s, self._new_id)
        self._views: tuple[WorkerView, ...] = ()
        self._handles: dict[str, Any] = {}
        self._creations: set[asyncio.Future[Any]] = set()  # of actors, under way
        self._adopted: set[str] = set()  # workers that an earlier process of this group started
        self._tasks: set[asyncio.Future[Any]] = set()
        self._liaison = Liaison(spec.queue, spec.group, self._incarnation)
        self._started: asyncio.Future[None] | None = None
        self._stopping = False
        self._departures = Departures(self._incarnation, self._liaison.ask, self._kill,
                                      lambda worker_id: self._do(self._supervisor.dismissed(worker_id)))
        self._node = ray.get_runtime_context().get_node_id()
        self._myself = ray.get_runtime_context().current_actor
        threading.Thread(target=_start_surely, args=(self._myself,), name="honeydew-start", daemon=True).start()

    async def start(self) -> None:
        """Begin; again does nothing. Returns before the workers are up, and once the queue, if there is one, knows what they can do."""
        await self._begun()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._liaison.introduced.wait(), _INTRODUCE_S)

    async def _begun(self) -> None:
        if self._started is None:
            self._started = asyncio.ensure_future(self._start())
        try:
            await self._started
        except Exception:  # the head node is away
            self._started = None
            raise

    async def stop(self) -> None:
        """End the workers, then this actor: a job in hand has ``shutdown_s`` to finish, then it goes back to its queue.

        Whoever asked for it may hear late that it is done, or never, and Ray must not start a process again that starts workers again.
        """
        await self._begun()  # a process that Ray has just restarted knows its workers only then
        self._stopping = self._liaison.closed = True
        await asyncio.gather(*self._creations, return_exceptions=True)  # a detached actor without a handle could not be ended
        await asyncio.gather(*map(self._find_again, self._adopted - self._handles.keys()))
        worker_ids = self._supervisor.stopping()
        await self._liaison.retire(worker_ids, self._spec.shutdown_s)
        await asyncio.gather(*(self._end(view.ref) for view in self._supervisor.views()))
        await asyncio.to_thread(blackbox.sweep, names.worker_prefix(self._spec.queue, self._spec.group))
        await self._liaison.leave()
        if self._spec.kept is not None:
            with contextlib.suppress(Exception):  # the head node is away: it is kept for nothing
                await asyncio.to_thread(self._spec.kept.drop)
        ray.kill(self._myself, no_restart=True)

    async def _find_again(self, worker_id: str) -> None:
        handle = await asyncio.to_thread(cluster.find_worker, worker_id)
        if handle is not None:
            self._handles[worker_id] = handle

    async def _start(self) -> None:
        actor_names = await asyncio.to_thread(cluster.actor_names)
        for worker_id in names.workers_among(actor_names, self._spec.queue, self._spec.group):
            self._supervisor.adopted(names.slot_of(worker_id), worker_id)
            self._adopted.add(worker_id)
        await self._see_nodes()
        self._do(self._supervisor.start())
        for duty in (self._look_at_nodes(), self._look_at_load(), self._liaison.keep_told(self._roster, self._handles),
                     self._liaison.attend(self._handles.__contains__, self._spoilt)):
            self._spawn_task(duty)

    # -- what the supervisor decides -------------------------------------------------------------

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
                    self._spawn_task(self._departures.dismiss(action.worker_id))
                case Fence():
                    worker = next(view.ref for view in self._supervisor.views() if view.ref.id == action.worker_id)
                    self._spawn_task(self._departures.fence(worker.id, partial(self._end, worker)))
        views = self._supervisor.views()
        if views != self._views:
            self._views = views
            self._liaison.changed()

    async def _bring_up(self, worker_id: str, delay_s: float) -> None:
        """Start a worker's process, and stay with it until it dies."""
        await asyncio.sleep(delay_s)
        if self._stopping:
            return
        place = self._supervisor.place(worker_id)
        self._do([])
        if place is None:
            return
        probe: asyncio.Future[None] | None = None
        try:
            handle = self._handles[worker_id] = await self._created(worker_id, place)
            who: WhoAmI = await _answer(handle.who_am_i.remote)
            self._do(self._supervisor.spawned(worker_id, *who))
            probe = self._spawn_task(self._probe(worker_id, Probe(handle, who.node, who.pid, self._node, self._spec.probe_timeout_s)))
            await self._watch(handle)
        except Exception as error:  # a RayError when it dies, others when Ray refuses its options
            if probe is not None:
                probe.cancel()
            self._kill(worker_id)  # should it live, nobody would find it again
            self._handles.pop(worker_id, None)
            await self._see_nodes()  # its node may have died with it
            self._do(self._supervisor.died(worker_id, Failure("exit", "WorkerDied", exception_text(error).splitlines()[0])))

    async def _created(self, worker_id: str, place: Place) -> Any:
        creation = asyncio.ensure_future(asyncio.to_thread(self._create, worker_id, place))
        self._creations.add(creation)
        try:
            return await creation
        finally:
            self._creations.discard(creation)

    def _create(self, worker_id: str, place: Place) -> Any:
        """The worker's actor: a new one, or the one that outlived an earlier process of this group."""
        if worker_id in self._adopted:
            return ray.get_actor(names.worker_actor(worker_id), namespace=names.NAMESPACE)
        return hiring.hire(worker_id, self._spec.worker, self._spec.ray_options, place)

    async def _watch(self, handle: Any) -> None:
        """Returns by raising, when the worker dies."""
        while True:
            await _answer(handle.watch.remote)
            await asyncio.sleep(_LOOK_AGAIN_S)  # somebody else watched: an earlier process of this group

    async def _probe(self, worker_id: str, probe: Probe) -> None:
        with contextlib.suppress(RayError):  # it died: whoever watches it hears of that too
            while True:
                self._do(self._supervisor.unheard(worker_id, *await probe.silence()))

    async def _init(self, init: Init) -> None:
        await asyncio.sleep(init.delay_s)
        handle = self._handles.get(init.worker_id)
        if handle is None or self._stopping:
            return
        overdue = asyncio.get_running_loop().call_later(self._spec.init_timeout_s, self._init_overdue, init)
        try:
            failed: InitFailed | None = await _answer(partial(handle.init.remote, init.epoch))  # to be made twice does no harm
        except RayError:  # it died: whoever watches it hears of that too
            return
        finally:
            overdue.cancel()
        if failed is None:
            self._do(self._supervisor.initialised(init.worker_id, init.epoch))
        else:
            self._do(self._supervisor.init_failed(init.worker_id, init.epoch, failed.error, failed.retry_s))

    def _init_overdue(self, init: Init) -> None:
        self._do(self._supervisor.init_overdue(init.worker_id, init.epoch, self._spec.init_timeout_s))

    # -- letting workers go ------------------------------------------------------------------------

    def _kill(self, worker_id: str) -> None:
        handle = self._handles.get(worker_id)
        if handle is not None:
            with contextlib.suppress(Exception):  # dead already
                ray.kill(handle, no_restart=True)

    async def _end(self, worker: WorkerRef) -> None:
        """Kill a worker and return when its process has ended."""
        if worker.id not in self._handles and (handle := await asyncio.to_thread(cluster.find_worker, worker.id)) is not None:
            self._handles[worker.id] = handle  # an earlier process of the group started it
        self._kill(worker.id)
        if worker.node:  # else it never came up
            with contextlib.suppress(RayError, asyncio.TimeoutError):  # its node is gone, and the process with it
                await autopsy.bury(worker, self._node)

    # -- what it keeps looking at ------------------------------------------------------------------

    def _spoilt(self, spoilt: Spoilt) -> None:
        leaves, worker_id = spoilt.leaves, spoilt.worker_id
        self._do(self._supervisor.stranded(worker_id) if leaves else self._supervisor.spoilt(worker_id, spoilt.epoch))

    async def _look_at_nodes(self) -> None:
        while not self._stopping:
            await asyncio.sleep(_LOOK_AT_NODES_S)
            await self._see_nodes()

    async def _see_nodes(self) -> None:
        with contextlib.suppress(Exception):  # the head node is away: look again
            seen: list[NodeView] = await asyncio.to_thread(nodes.nodes)
            self._do(self._supervisor.saw_nodes(seen, time.time()))

    async def _look_at_load(self) -> None:
        while not self._stopping:
            await asyncio.sleep(_LOOK_AT_LOAD_S)
            load = await self._liaison.load() if self._supervisor.follows_load else None
            if load is not None:
                self._do(self._supervisor.saw_load(load.waiting, load.idle, time.monotonic()))

    def _roster(self) -> Roster:
        self._serial += 1
        return Roster(self._spec.group, self._incarnation, self._serial, self._supervisor.views(),
                      self._spec.class_name, self._spec.methods, self._spec.prefetch, self._spec.worker.concurrency)

    # --------------------------------------------------------------------------------------------

    def _new_id(self, slot: int, number: int) -> str:
        return names.worker_id(self._spec.queue, self._spec.group, slot, f"{number}{self._incarnation}")

    def _spawn_task(self, work: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop keeps only weak references
        task.add_done_callback(self._tasks.discard)
        return task


async def _answer(call: Callable[[], Awaitable[Any]]) -> Any:
    """A worker's answer, asked for again while it is out of sight, which is not death. Raises a `RayError` when it is dead."""
    while True:
        with contextlib.suppress(ActorUnavailableError):
            return await call()
        await asyncio.sleep(_LOOK_AGAIN_S)


def _start_surely(actor: Any) -> None:
    """Have a group's process begin that Ray has restarted, too: while Ray counts it as restarting, its calls to itself fail."""
    while True:
        try:
            actor.start.remote().future().result()  # ray.get would warn, in an async actor, though this thread is not its loop's
            return
        except RayError as error:
            if not isinstance(error, RayTaskError) and not is_away(actor, error):
                return  # it was ended meanwhile
            time.sleep(_LOOK_AGAIN_S)
