"""Processes that are killed, that stop for a while, and that hang."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from tests.simulation.cluster import Actor
from tests.simulation.loop import Process
from tests.simulation.victims import Victims, process_of
from tests.simulation.world import World, end_process

_POINTS = (
    "disp.post_reserve", "disp.post_send", "move.between", "enq.pre_commit", "enq.post_commit", "ack.pre_commit", "ack.post_commit",
    "nack.pre",
)


class ProcessFaults:
    """Faults of workers, queues, groups and clients."""

    def __init__(self, world: World, victims: Victims, rng: random.Random) -> None:
        self._world = world
        self._victims = victims
        self._rng = rng
        self.acts: dict[str, Callable[[str], None]] = {
            "kill worker": lambda what: self._kill(what, victims.worker()),
            "kill worker soon": lambda what: self._kill_soon(what, process_of(victims.worker())),
            "kill queue": lambda what: self._kill(what, victims.queue()),
            "kill queue soon": lambda what: self._kill_soon(what, process_of(victims.queue())),
            "kill queue at a point": self._kill_at_a_point,
            "kill both queues": self._kill_both,
            "kill group": lambda what: self._kill(what, victims.group()),
            "kill group soon": lambda what: self._kill_soon(what, process_of(victims.group())),
            "kill client": self._kill_client,
            "pause worker": lambda what: self._pause(what, process_of(victims.worker())),
            "pause queue": lambda what: self._pause(what, process_of(victims.queue())),
            "pause group": lambda what: self._pause(what, process_of(victims.group())),
            "pause client": lambda what: self._pause(what, rng.choice(victims.drivers() or [None])),
            "worker hangs": lambda what: self._hang(what, process_of(victims.busy_worker()), computes=False),
            "worker computes": lambda what: self._hang(what, process_of(victims.busy_worker()), computes=True),
        }

    async def heal(self) -> None:
        self._world.armed.clear()
        for process in self._world.cluster.processes:
            process.dies_at = None
            if process.paused and not process.dead:
                process.resume()

    def _kill(self, what: str, actor: Actor | None) -> None:
        process = process_of(actor)
        if process is not None:
            self._note(what)
            process.kill()

    def _kill_soon(self, what: str, process: Process | None, steps: int = 60) -> None:
        if process is None or process.dies_at is not None:
            return

        def died() -> None:
            if process.dies_at is not None and process.steps >= process.dies_at:
                self._note(what)

        process.on_death.append(died)
        process.dies_at = process.steps + self._rng.randint(1, steps)

    def _kill_both(self, what: str) -> None:
        """Two queues, within a few steps of each other."""
        for queue in self._world.scenario.stores:
            self._kill_soon(what, process_of(self._world.queue_actor(queue)), steps=10)

    def _kill_at_a_point(self, what: str) -> None:
        self._world.armed[self._rng.choice(_POINTS)] = what, end_process

    def _kill_client(self, what: str) -> None:
        drivers = self._victims.drivers()
        if len(drivers) > 1:  # the first one suspends and resumes, stops and starts, and must live to do both
            self._kill_soon(what, drivers[-1], steps=30)

    def _pause(self, what: str, process: Process | None) -> None:
        if process is not None and not process.paused:
            self._note(what)
            process.pause()
            asyncio.get_running_loop().call_later(self._rng.choice([0.1, 2.0, 20.0]), process.resume)

    def _hang(self, what: str, process: Process | None, computes: bool) -> None:
        """For longer than the group is patient, or for about as long."""
        if process is not None and not process.paused:
            self._note(what)
            process.pause()
            process.computes = computes
            patience_s = self._world.scenario.probe_timeout_s
            asyncio.get_running_loop().call_later(self._rng.choice([0.9, 1.4, 3.0]) * patience_s, process.resume)

    def _note(self, what: str) -> None:
        self._world.history.note("fault", what=what)
