"""Whom a fault meets."""

from __future__ import annotations

import random

from honeydew_ray.actors import names
from tests.simulation.cluster import Actor
from tests.simulation.loop import Process
from tests.simulation.queue import SimQueue
from tests.simulation.world import World


class Victims:
    """Chooses among those that live."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng

    def some(self, prefix: str) -> Actor | None:
        living = [actor for name, actor in self._world.cluster.actors.items() if name.startswith(prefix) and process_of(actor) is not None]
        return self._rng.choice(living) if living else None

    def worker(self) -> Actor | None:
        return self.some("worker/")

    def busy_worker(self) -> Actor | None:
        """One that runs a job, if there is one."""
        busy = sorted({worker for worker, _ in self._world.promises.running.values()})
        actors = [self._world.cluster.find(names.worker_actor(worker)) for worker in busy]
        living = [actor for actor in actors if process_of(actor) is not None]
        return self._rng.choice(living) if living else self.worker()

    def queue(self) -> Actor | None:
        return self.some("queue/")

    def group(self) -> Actor | None:
        return self.some("workers/")

    def live_queue(self) -> SimQueue | None:
        return self._world.live_queue(self._rng.choice(["main", "other"]))

    def drivers(self) -> list[Process]:
        return [process for process in self._world.driver_processes if not process.dead]


def process_of(actor: Actor | None) -> Process | None:
    """The process of an actor, if it lives."""
    return None if actor is None or actor.process is None or actor.process.dead else actor.process
