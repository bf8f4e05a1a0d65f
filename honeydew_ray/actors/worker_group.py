"""A worker group's process: starts, replaces and stops the workers of one ``start_workers`` call."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError

from honeydew_ray.actors import autopsy, blackbox, cluster, hiring, names, nodes
from honeydew_ray.actors.probe import Probe
from honeydew_ray.actors.worker_actor import InitFailed, WhoAmI, WorkerSpec
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.errors import QueueNotFound
from honeydew_ray.failure import Failure, exception_text
from honeydew_ray.placement import NodeView, Place, Plan
from honeydew_ray.roster import Load, Roster, Spoilt, WorkerView
from honeydew_ray.staffing import Action, Dismiss, Fence, Init, Kill, Retire, Spawn
from honeydew_ray.supervisor import Supervisor

_LOOK_FOR_QUEUE_S = 0.25
_RESTART_S = 15.0  # within which Ray has restarted a queue that died
_ATTEND_S = 30.0
_LOOK_AT_NODES_S = 1.0
_LOOK_AT_LOAD_S = 0.5
_BEFORE_NODE_LEAVES_S = 1.0  # to redeliver a job that did not end in time


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """What a worker group is made from, each time its process starts."""

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


class WorkerGroup:
    """Does what its supervisor decides, and keeps the queue told of how its workers stand.

    Workers are detached and never restarted by Ray: a worker's process is one incarnation. If the
    group's own process dies, Ray starts it again and it takes over the workers that live.
    """

    def __init__(self, spec: GroupSpec) -> None:
        self._spec = spec
        self._incarnation = uuid.uuid4().hex[:12]
        self._serial = 0
        self._supervisor = Supervisor(spec.plan, spec.init_retry_s, self._new_id)
        self._views: tuple[WorkerView, ...] = ()
        self._handles: dict[str, Any] = {}
        self._creations: set[asyncio.Future[Any]] = set()  # of actors, under way
        self._adopted: set[str] = set()  # workers that an earlier process of this group started
        self._tasks: set[asyncio.Future[Any]] = set()
        self._changed = asyncio.Event()
        self._queue: Any = None
        self._started: asyncio.Future[None] | None = None
        self._stopping = False
        self._node = ray.get_runtime_context().get_node_id()
        myself = ray.get_runtime_context().current_actor
        threading.Thread(target=_start_surely, args=(myself,), name="honeydew-start", daemon=True).start()

    async def start(self) -> None:
        """Begin; again does nothing. Returns before the workers are up."""
        if self._started is None:
            self._started = asyncio.ensure_future(self._start())
        await self._started

    async def stop(self) -> None:
        """End the workers: a job in hand has ``shutdown_s`` to finish, then it goes back to its queue."""
        self._stopping = True
        await asyncio.gather(*self._creations, return_exceptions=True)  # a detached actor without a handle could not be ended
        worker_ids = self._supervisor.stopping()
        with contextlib.suppress(QueueNotFound):
            queue = self._queue or await asyncio.to_thread(cluster.find_queue, self._spec.queue)  # None while it restarts
            await self._retire(queue, worker_ids)
        await asyncio.gather(*(self._end(view.ref) for view in self._supervisor.views()))
        await asyncio.to_thread(blackbox.sweep, names.worker_prefix(self._spec.queue, self._spec.group))
        if self._queue is not None:
            with contextlib.suppress(RayError):
                await self._queue.remove_group.remote(self._spec.group)

    async def _retire(self, queue: Any, worker_ids: list[str]) -> None:
        """Have the queue take its jobs back; a queue that is away is waited for, one that is gone has nothing to take back."""
        deadline = asyncio.get_running_loop().time() + self._spec.shutdown_s + _RESTART_S
        while asyncio.get_running_loop().time() < deadline:
            try:
                await queue.retire.remote(worker_ids, self._spec.shutdown_s)
                return
            except ActorUnavailableError:
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
            except RayError:
                return

    async def _start(self) -> None:
        actor_names = await asyncio.to_thread(cluster.actor_names)
        for worker_id in names.workers_among(actor_names, self._spec.queue, self._spec.group):
            self._supervisor.adopted(names.slot_of(worker_id), worker_id)
            self._adopted.add(worker_id)
        await self._see_nodes()
        self._do(self._supervisor.start())
        for duty in (self._look_at_nodes, self._look_at_load, self._keep_queue_told, self._attend_queue):
            self._spawn_task(duty())

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
                    self._spawn_task(self._let_go(action))
                case Dismiss():
                    self._spawn_task(self._dismiss(action.worker_id))
                case Fence():
                    self._spawn_task(self._fence(action.worker_id))
        views = self._supervisor.views()
        if views != self._views:
            self._views = views
            self._changed.set()

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
            who = await self._who(handle)
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

    async def _who(self, handle: Any) -> WhoAmI:
        while True:
            with contextlib.suppress(ActorUnavailableError):  # not dead
                return await handle.who_am_i.remote()
            await asyncio.sleep(_LOOK_FOR_QUEUE_S)

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
            with contextlib.suppress(ActorUnavailableError):  # not dead: watch on
                await handle.watch.remote()
            await asyncio.sleep(_LOOK_FOR_QUEUE_S)

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
            failed: InitFailed | None = await handle.init.remote(init.epoch)
        except ActorUnavailableError:  # whether it made its state is not known, and nobody would say so later
            self._kill(init.worker_id)
            return
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

    async def _let_go(self, retire: Retire) -> None:
        """End a worker whose node leaves, once it has no job in hand or its time is up."""
        within_s = None if math.isinf(retire.within_s) else max(retire.within_s - _BEFORE_NODE_LEAVES_S, 0.0)
        await self._ask_queue("retire", [retire.worker_id], within_s)
        self._kill(retire.worker_id)

    async def _dismiss(self, worker_id: str) -> None:
        """End a worker, unless it has a job in hand."""
        if await self._ask_queue("dismiss", [worker_id]):
            self._do(self._supervisor.dismissed(worker_id))

    async def _fence(self, worker_id: str) -> None:
        """End a worker that does not answer. The queue does so itself if it has a job in hand, which it then redelivers."""
        worker = next((view.ref for view in self._supervisor.views() if view.ref.id == worker_id), None)
        if not await self._ask_queue("fence", worker_id) and worker is not None:
            await self._end(worker)

    async def _ask_queue(self, method: str, *args: Any) -> Any:
        """What the queue answers, through restarts of its process; None if it is gone."""
        while not self._stopping:
            try:
                queue = self._queue or await asyncio.to_thread(cluster.find_queue, self._spec.queue)
                return await getattr(queue, method).remote(*args)
            except ActorUnavailableError:
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
            except (QueueNotFound, RayError):
                return None
        return None

    def _kill(self, worker_id: str) -> None:
        handle = self._handles.get(worker_id)
        if handle is not None:
            with contextlib.suppress(Exception):  # dead already
                ray.kill(handle, no_restart=True)

    async def _end(self, worker: WorkerRef) -> None:
        """Kill a worker and return when its process has ended."""
        self._kill(worker.id)
        if worker.node:  # else it never came up
            with contextlib.suppress(RayError, asyncio.TimeoutError):  # its node is gone, and the process with it
                await autopsy.bury(worker, self._node)

    # -- the queue -------------------------------------------------------------------------------

    async def _attend_queue(self) -> None:
        """Find the queue, follow it through its restarts, and rebuild the workers it found spoilt."""
        handled: list[Spoilt] = []
        while not self._stopping:
            try:
                if self._queue is None:
                    self._queue = await asyncio.to_thread(cluster.find_queue, self._spec.queue)
                    self._changed.set()
                found: list[Spoilt] = await self._queue.attend.remote(self._spec.group, handled, _ATTEND_S)
                handled = [spoilt for spoilt in handled if spoilt.worker_id in self._handles] + found
                for spoilt in found:
                    self._do(self._supervisor.spoilt(spoilt.worker_id, spoilt.epoch))
            except (QueueNotFound, RayError):
                self._queue = None
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)

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
            if self._supervisor.follows_load and self._queue is not None:
                with contextlib.suppress(RayError):  # it is away: look again
                    load: Load = await self._queue.load.remote(self._spec.group)
                    self._do(self._supervisor.saw_load(load.waiting, load.idle, time.monotonic()))

    async def _keep_queue_told(self) -> None:
        while not self._stopping:
            await self._changed.wait()
            self._changed.clear()
            if self._queue is None or self._stopping:
                continue  # finding it counts as a change; and a group that stops has taken its leave
            self._serial += 1
            roster = Roster(self._spec.group, self._incarnation, self._serial, self._supervisor.views(),
                            self._spec.class_name, self._spec.methods, self._spec.prefetch, self._spec.worker.concurrency)
            try:
                await self._queue.update_roster.remote(roster, dict(self._handles))
            except RayError:  # it restarts, or a connection broke: tell it again
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
                self._changed.set()

    # --------------------------------------------------------------------------------------------

    def _new_id(self, slot: int, number: int) -> str:
        return names.worker_id(self._spec.queue, self._spec.group, slot, f"{number}{self._incarnation}")

    def _spawn_task(self, work: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop keeps only weak references
        task.add_done_callback(self._tasks.discard)
        return task


def create(spec: GroupSpec) -> Any:
    """Start a group's actor under its name.

    Raises `NameTaken` if a group of that name runs, `ValueError` or `TypeError` for options that Ray does not take.
    """
    hiring.check(spec.worker, spec.ray_options)
    made: Any = ray.remote(WorkerGroup)
    name = names.group_actor(spec.queue, spec.group)
    options: dict[str, Any] = {
        "num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "max_concurrency": 1000, "enable_task_events": False,
    }
    return cluster.create_named(made, name, options, spec)


def _start_surely(actor: Any) -> None:
    """Have a group's process begin that Ray has restarted, too: while Ray counts it as restarting, its calls to itself fail."""
    while True:
        try:
            ray.get(actor.start.remote())
            return
        except ActorUnavailableError:
            time.sleep(_LOOK_FOR_QUEUE_S)
        except RayError:  # it was ended meanwhile
            return


def start(actor: Any) -> None:
    """Have a new group begin; returns before its workers are up."""
    ray.get(actor.start.remote())


def stop(actor: Any, queue: str, group: str) -> None:
    """End a group's workers, then the group."""
    with contextlib.suppress(RayError):  # gone already
        ray.get(actor.stop.remote())
    cluster.end_actor(actor, names.group_actor(queue, group))
