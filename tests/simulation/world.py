"""One simulated cluster with two queues, their workers and clients, made from a scenario."""

from __future__ import annotations

import asyncio
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
from honeydew_ray.queue_core import QueuePolicy
from honeydew_ray.stores.base import Store
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.testing.virtual_time import VirtualClock
from tests.simulation.client import SimClient
from tests.simulation.cluster import HEAD, Actor, Cluster
from tests.simulation.disk import Disk
from tests.simulation.group import GroupPlan, SimGroup
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
        self.cluster = Cluster(self._rng("cluster"), self.history, NODES)
        self.cluster.weather.delays_s = list(scenario.delays_s)
        self.promises = Promises(self.cluster, {"main": scenario.times, "other": 0}, scenario.max_redeliveries,
                                 {"main": scenario.concurrency, "other": 1}, scenario.prefetch)
        self.history.listener = self.promises.hear
        self.disks: dict[str, Disk] = {}
        self.clients: list[SimClient] = []
        self.driver_processes: list[Process] = []
        self.armed: dict[str, Callable[[], None]] = {}  # by failpoint: what is to happen at its next hit
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
            plan = self._queue_plan(queue)
            actor = Actor(names.queue_actor(queue), partial(self._new_queue, plan), restarts=True, home=self.scenario.homes[queue])
            await self.cluster.create(actor)
            await self.start_group(queue, "default", self.scenario.workers if queue == "main" else 1)

    async def start_group(self, queue: str, group: str, num: int) -> Actor:
        of_main = queue == "main"
        plan = GroupPlan(queue, group, num, self._new_worker, lambda: f"g{next(self._numbers)}",
                         prefetch=of_main and self.scenario.prefetch, concurrency=self.scenario.concurrency if of_main else 1)
        actor = Actor(names.group_actor(queue, group), lambda process: SimGroup(plan, self.cluster), restarts=True)
        await self.cluster.create(actor)
        return actor

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
        policy = QueuePolicy(queue, dispatcher(), self._mode(queue), None, self.scenario.result_ttl_s, self.scenario.max_redeliveries)
        return QueuePlan(policy, dispatcher, first, next_store, ledger, PatientCaller(self.scenario.decides_s), self.clock,
                         partial(self.promises.kept, queue))

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
        return SimWorker(worker_id, process, self.history, Habits(self._result, self.scenario.init_fails, spoils, concurrency))

    # -- failpoints ----------------------------------------------------------------------------

    def hit(self, point: str) -> None:
        """Takes the place of `failpoints.hit`."""
        act = self.armed.pop(point, None)
        if act is not None:
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
