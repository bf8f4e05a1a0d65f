"""What goes wrong in a run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from honeydew_ray import lifecycle
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord
from tests.simulation.cluster import Actor
from tests.simulation.loop import Process, start_in
from tests.simulation.queue import SimQueue
from tests.simulation.scenario import NODES
from tests.simulation.world import World, end_process, raise_disk_full, raise_hit

_LOST = Failure("node_lost", "NodeLost", "a late word")
_POINTS = (
    "disp.post_reserve", "disp.post_send", "move.between", "enq.pre_commit", "enq.post_commit", "ack.pre_commit", "ack.post_commit",
    "nack.pre",
)


class Chaos:
    """Brings about the faults of a scenario; `heal` ends them all."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng("chaos")
        self._cluster = world.cluster
        self._tasks: list[asyncio.Task[None]] = []
        self._acts: dict[str, Callable[[], None]] = {
            "kill worker": lambda: self._kill(self._worker()),
            "kill worker soon": lambda: self._kill_soon(self._worker()),
            "kill queue": lambda: self._kill(self._queue()),
            "kill queue soon": lambda: self._kill_soon(self._queue()),
            "kill queue at a point": lambda: self._arm(_POINTS, end_process),
            "kill group": lambda: self._kill(self._some("workers/")),
            "kill group soon": lambda: self._kill_soon(self._some("workers/")),
            "kill client": self._kill_client,
            "lose node": self._lose_node,
            "cut node off": self._cut_node_off,
            "pause worker": lambda: self._pause(self._process(self._worker())),
            "pause queue": lambda: self._pause(self._process(self._queue())),
            "pause group": lambda: self._pause(self._process(self._some("workers/"))),
            "pause client": lambda: self._pause(self._rng.choice(self._living_drivers() or [None])),
            "lose calls": lambda: self._for_a_while(self._lose_calls, self._keep_calls),
            "slow calls": lambda: self._for_a_while(self._slow_calls, self._keep_calls),
            "fault of transport": self._fault_of_transport,
            "clock jumps": lambda: setattr(world.clock, "offset", self._rng.choice([-3600.0, -1.0, 0.0, 1.0, 3600.0])),
            "disk full": lambda: self._arm(("enq.pre_commit", "ack.pre_commit", "nack.pre"), raise_disk_full),
            "error after commit": lambda: self._arm(("enq.post_commit", "ack.post_commit", "disp.post_send"), raise_hit),
        }

    def strike(self) -> None:
        """One fault, of those that the scenario has."""
        if self._world.scenario.faults:
            fault = self._rng.choice(self._world.scenario.faults)
            self._world.history.note("fault", what=fault)
            self._acts[fault]()

    def say_something_stale(self) -> None:
        """An outcome of an attempt that is over reaches the store: late, or a second time."""
        queue = self._world.live_queue(self._rng.choice(["main", "main", "other"]))
        if queue is not None and queue.store.issued:
            process = self._world.queue_actor(queue.core.name).process
            self._tasks.append(start_in(process, self._say_stale(queue, self._rng.choice(queue.store.issued))))

    async def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._keep_calls()
        self._world.armed.clear()
        for process in self._cluster.processes:
            process.dies_at = None
            if process.paused and not process.dead:
                process.resume()
        for node in NODES:
            while node in self._cluster.cut_off:  # noqa: ASYNC110 - under virtual time waiting costs nothing
                await asyncio.sleep(1.0)
            self._cluster.bring_back(node)
        for queue in self._world.scenario.stores:
            live = self._world.live_queue(queue)
            if live is not None:
                live.transport.faults = 0
        for driver in self._living_drivers():
            driver.dies_at = None

    # -- whom it meets -------------------------------------------------------------------------

    def _some(self, prefix: str) -> Actor | None:
        living = [actor for name, actor in self._cluster.actors.items() if name.startswith(prefix) and self._process(actor) is not None]
        return self._rng.choice(living) if living else None

    def _worker(self) -> Actor | None:
        return self._some("worker/")

    def _queue(self) -> Actor | None:
        return self._some("queue/")

    @staticmethod
    def _process(actor: Actor | None) -> Process | None:
        return None if actor is None or actor.process is None or actor.process.dead else actor.process

    def _living_drivers(self) -> list[Process]:
        return [process for process in self._world.driver_processes if not process.dead]

    # -- what happens --------------------------------------------------------------------------

    def _kill(self, actor: Actor | None) -> None:
        process = self._process(actor)
        if actor is not None and process is not None:
            self._note_kill(actor)
            process.kill()

    def _kill_soon(self, actor: Actor | None) -> None:
        process = self._process(actor)
        if actor is not None and process is not None:
            self._note_kill(actor)
            process.dies_at = process.steps + self._rng.randint(1, 60)

    def _note_kill(self, actor: Actor) -> None:
        kind, _, name = actor.name.partition("/")
        if kind == "worker":
            self._world.history.note("killed", worker=name)

    def _kill_client(self) -> None:
        drivers = self._living_drivers()
        if len(drivers) > 1:  # the first one suspends and resumes, and must live to resume
            drivers[-1].dies_at = drivers[-1].steps + self._rng.randint(1, 30)

    def _lose_node(self) -> None:
        node = self._rng.choice(NODES)
        if self._cluster.nodes[node] and node not in self._cluster.cut_off:
            self._cluster.lose_node(node)
            self._later(self._rng.choice([5.0, 15.0]), lambda: self._cluster.bring_back(node))

    def _cut_node_off(self) -> None:
        node = self._rng.choice(NODES)
        if self._cluster.nodes[node] and node not in self._cluster.cut_off:
            self._cluster.cut_node_off(node, self._rng.choice([0.5, 10.0]))
            self._later(20.0, lambda: self._cluster.bring_back(node))

    def _pause(self, process: Process | None) -> None:
        if process is not None and not process.paused:
            process.pause()
            self._later(self._rng.choice([0.1, 2.0, 20.0]), process.resume)

    def _for_a_while(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        self._later(self._rng.choice([0.5, 3.0]), end)

    def _lose_calls(self) -> None:
        self._cluster.weather.lost = 0.2

    def _slow_calls(self) -> None:
        self._cluster.weather.delays_s = [0.001, 0.1, 0.5]

    def _keep_calls(self) -> None:
        self._cluster.weather.lost = 0.0
        self._cluster.weather.delays_s = list(self._world.scenario.delays_s)

    def _fault_of_transport(self) -> None:
        queue = self._world.live_queue(self._rng.choice(["main", "other"]))
        if queue is not None:
            queue.transport.faults += self._rng.randint(1, 2)

    def _arm(self, points: Sequence[str], act: Callable[[], None]) -> None:
        self._world.armed[self._rng.choice(points)] = act

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, act)

    async def _say_stale(self, queue: SimQueue, job: JobRecord) -> None:
        await queue.core.floor.mailbox.ask(lambda: self._say(queue, job))

    async def _say(self, queue: SimQueue, job: JobRecord) -> None:
        current = queue.core.floor.monitors.get(job.id)
        entry = self._world.promises.ledgers[queue.core.name].entries.get(job.id)
        if current is not None and current.job.token == job.token:
            return  # it is no late word, but the truth
        if entry is not None and entry.unclear:
            return  # it is being settled
        if job.id in queue.core._leaving:
            return
        now = self._world.clock.now()
        late = lifecycle.succeeded(job, now, None) if self._rng.random() < 0.5 else lifecycle.redelivered(job, _LOST)
        answer = await (queue.store.inner.ack([late]) if late.completed_at is not None else queue.store.inner.nack([late]))
        if answer != [False]:
            self._world.promises.complain(f"promise 5: a stale outcome of {job.token} changed the store of queue {queue.core.name}")


def random_pause(rng: random.Random) -> float:
    """How long until the next thing happens."""
    return rng.choice([0.0, 0.001, 0.01, 0.1, 0.5, 1.0])
