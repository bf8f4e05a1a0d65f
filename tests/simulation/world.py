"""One simulated cluster with two queues, their workers and clients, made from a scenario."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sqlite3
from collections.abc import Callable
from functools import partial

from honeydew_ray import failpoints
from honeydew_ray.actors import names
from honeydew_ray.decisions import Decision
from honeydew_ray.dispatchers.lru import LRU
from honeydew_ray.dispatchers.lru_node import LRUNode
from honeydew_ray.dispatchers.mru import MRU
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.failure_modes.move import Move
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.payload import Payload, dumps_whole
from honeydew_ray.placement import Plan
from honeydew_ray.queue_core import QueuePolicy
from honeydew_ray.stores.base import Store
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.testing.virtual_time import VirtualClock
from tests.simulation.client import SimClient
from tests.simulation.cluster import HEAD, Actor, Cluster
from tests.simulation.disk import Disk
from tests.simulation.group import SimGroup
from tests.simulation.group_plan import GroupPlan
from tests.simulation.history import History
from tests.simulation.ledger import Ledger
from tests.simulation.loop import Process, current_process
from tests.simulation.promises import Promises
from tests.simulation.queue import QueuePlan, SimQueue
from tests.simulation.scenario import NODES, Scenario
from tests.simulation.worker import Habits, SimWorker


class PatientCaller:
    """Runs user code after a while."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    async def call(self, function: Callable[..., Decision], *args: object) -> Decision:
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        return function(*args)


class World:
    """All there is in a run. Make it inside the running loop."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.history = History()
        self.clock = VirtualClock()
        self.latest_offset = 0.0  # of the clock, ever
        self.cluster = Cluster(self._rng("cluster"), self.history, NODES)
        self.cluster.weather.delays_s = list(scenario.delays_s)
        self.promises = Promises(self.cluster, scenario)
        self.history.listener = self.promises.hear
        self.disks: dict[str, Disk] = {}
        self.clients: list[SimClient] = []
        self.driver_processes: list[Process] = []
        self.armed: dict[str, tuple[str, Callable[[], None]]] = {}  # by failpoint: the fault that is to happen at its next hit
        self._plans: dict[str, QueuePlan] = {}
        self._result = Payload(dumps_whole(1, "result"))
        self._numbers = itertools.count(1)

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{purpose} {self.scenario.seed}")

    def rng(self, purpose: str) -> random.Random:
        """Chance for one purpose, apart from that for others."""
        return self._rng(purpose)

    # -- what there is -------------------------------------------------------------------------

    async def build(self) -> None:
        """Start the queues and their groups."""
        for queue in self.scenario.stores:
            self._plans[queue] = self._queue_plan(queue)
            await self.start_queue(queue)
            await self.start_group(queue)

    async def start_queue(self, queue: str) -> None:
        """Start a queue, for the first time or with what its store holds."""
        make = partial(self._new_queue, self._plans[queue])
        await self.cluster.create(Actor(names.queue_actor(queue), make, restarts=True, home=self.scenario.homes[queue]))

    async def start_group(self, queue: str) -> None:
        """Start the workers of a queue."""
        scenario, of_main = self.scenario, queue == "main"
        plan = GroupPlan(queue, "default", scenario.staff if of_main else Plan(), self._new_worker, lambda: f"g{next(self._numbers)}",
                         self.clock, shutdown_s=scenario.shutdown_s, probe_timeout_s=scenario.probe_timeout_s,
                         prefetch=of_main and scenario.prefetch, concurrency=scenario.concurrency if of_main else 1)
        actor = Actor(names.group_actor(queue, "default"), lambda process: SimGroup(plan, self.cluster, self.history), restarts=True)
        await self.cluster.create(actor)

    def queue_actor(self, queue: str) -> Actor:
        return self.cluster.actors[names.queue_actor(queue)]

    def live_queue(self, queue: str) -> SimQueue | None:
        """The process of a queue, if it is up."""
        actor = self.queue_actor(queue)
        return actor.instance if actor.process is not None and not actor.process.dead and not actor.process.paused else None

    def new_driver(self, name: str) -> Process:
        process = Process(name, HEAD)
        self.cluster.processes.append(process)
        self.driver_processes.append(process)
        return process

    def remove(self) -> None:
        """Leave no file behind."""
        for disk in self.disks.values():
            disk.remove()

    def _queue_plan(self, queue: str) -> QueuePlan:
        if self.scenario.stores[queue] == "sqlite":
            disk = self.disks[queue] = Disk()
            first: Store = disk.store()
            next_store: Callable[[], Store] = disk.store
        else:
            first, next_store = MemoryStore(), MemoryStore
        ledger = Ledger(queue, first.durable, self.promises.complain, self.promises.crashed)
        self.promises.ledgers[queue] = ledger
        choice = self._rng(f"dispatcher of {queue}")
        dispatcher = choice.choice([LRU, MRU, LRUNode])
        most = self.scenario.max_pending if queue == "main" else None
        policy = QueuePolicy(queue, dispatcher(), self._mode(queue), None, self.scenario.result_ttl_s, self.scenario.max_redeliveries,
                             self.scenario.node_loss, most)
        return QueuePlan(policy, dispatcher, first, next_store, ledger, PatientCaller(self.scenario.decides_s), self.clock,
                         partial(self.promises.kept, queue), partial(self.promises.enters, queue))

    def _mode(self, queue: str) -> FailureMode:
        if queue == "other":
            return Abandon()
        finally_ = Abandon() if self.scenario.finally_ == "abandon" else Move(self.scenario.finally_)
        return Retry(self.scenario.times, delay_s=self.scenario.retry_delay_s, finally_=finally_)

    def _new_queue(self, plan: QueuePlan, process: Process) -> SimQueue:
        def crashed() -> None:
            plan.ledger.crashed()
            if plan.policy.name in self.disks:
                self.disks[plan.policy.name].crash()

        process.on_death.append(crashed)
        return SimQueue(plan, self.cluster, self.history)

    def _new_worker(self, worker_id: str, process: Process) -> SimWorker:
        concurrency = self.scenario.concurrency if worker_id.startswith("main/") else 1
        spoils = self.scenario.spoils and concurrency == 1
        habits = Habits(self._result, self.scenario.init_fails, spoils, concurrency)
        return SimWorker(worker_id, process, self.history, habits, partial(self._tell_progress, worker_id.partition("/")[0]))

    async def _tell_progress(self, queue: str, *facts: object) -> None:
        actor = self.cluster.find(names.queue_actor(queue))
        if actor is not None:
            with contextlib.suppress(Exception):
                await self.cluster.call(actor, "progressed", *facts)

    # -- failpoints ----------------------------------------------------------------------------

    def hit(self, point: str) -> None:
        """Takes the place of `failpoints.hit`."""
        fault = self.armed.pop(point, None)
        if fault is not None:
            what, act = fault
            self.history.note("fault", what=what)
            self.history.note("fault", what=f"at {point}", process=str(current_process()))
            act()


def end_process() -> None:
    """Ends the process that comes by."""
    process = current_process()
    if process is not None:
        process.exit()


def raise_hit() -> None:
    raise failpoints.FailpointHit("execute, then error")


def raise_disk_full() -> None:
    raise sqlite3.OperationalError("database or disk is full")
