"""One run: a seed goes in, a history and complaints come out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from honeydew_ray import failpoints
from honeydew_ray.job import JobId
from tests.simulation.deeds import Driver
from tests.simulation.faults import Chaos, random_pause
from tests.simulation.history import History
from tests.simulation.loop import SharedLoop
from tests.simulation.scenario import Scenario, scenario
from tests.simulation.verdict import check_places, say
from tests.simulation.world import World

_HEALED_S = 8000.0
"""Within this virtual time after the last fault every job must have come to its end; a wall clock may have been set back by two hours."""

_RACES = 6


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    scenario: Scenario
    history: History
    complaints: list[str]
    cases: Counter[str]

    def happened(self) -> Counter[str]:
        """How often each fault, and each case of `scenario.CASES`, really came about."""
        noted = Counter(str(dict(event.facts)["what"]) for event in self.history.events if event.kind in ("fault", "case"))
        return noted + self.cases

    def __str__(self) -> str:
        verdict = "every promise kept" if not self.complaints else "\n".join(self.complaints)
        return f"{self.scenario}\n{verdict}\nreplay it with: python -m tests.simulation --seed {self.scenario.seed} --history"


def run(seed: int) -> Outcome:
    """Live through one seed's scenario. Raises what the simulation itself got wrong."""
    with _fixed(seed):
        loop = SharedLoop()
        unheard: list[str] = []
        loop.set_exception_handler(lambda _, context: unheard.append(f"nobody heard of {context.get('exception')!r}: {context['message']}"))
        worlds: list[World] = []
        try:
            world = loop.run_until_complete(_live(seed, worlds))
        finally:
            for made in worlds:
                made.history.closed = True
            complaints = [complaint for made in worlds for complaint in made.promises.complaints] + unheard
            loop.end()
            for made in worlds:
                made.remove()
        return Outcome(world.scenario, world.history, complaints, world.promises.cases)


@contextlib.contextmanager
def _fixed(seed: int) -> Iterator[None]:
    """Nothing in a run may depend on anything but its seed; and thousands of failures are meant, so nothing is logged."""
    rng = random.Random(f"uuid {seed}")
    collects = gc.isenabled()
    gc.disable()  # a collection at some other moment would run the finalisers of what is left of the dead
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with mock.patch.object(uuid, "uuid4", side_effect=lambda: uuid.UUID(int=rng.getrandbits(128), version=4)):
            yield
    finally:
        logging.disable(level)
        if collects:
            gc.enable()


async def _live(seed: int, worlds: list[World]) -> World:
    world = World(scenario(seed))
    worlds.append(world)
    with mock.patch.object(failpoints, "hit", world.hit):
        await world.build()
        submitted: list[JobId] = []
        drivers = [Driver(world, number, submitted) for number in range(world.scenario.clients)]
        for driver in drivers:
            driver.begin()
        await asyncio.sleep(1.0)
        await _chaos(world, drivers)
    return world


async def _chaos(world: World, drivers: list[Driver]) -> None:
    chaos, rng, more = Chaos(world), world.rng("deeds"), world.rng("more deeds")
    idle_s = 2 * world.scenario.staff.idle_timeout_s if world.scenario.staff.elastic else 0.0
    with _work_as_workers_go(world, drivers):
        await _deeds(world, drivers, chaos, rng, more)
        await chaos.heal()
        world.history.note("healed")
        await _settle(world, drivers)
        await asyncio.sleep(idle_s)
    await _settle(world, drivers)
    await asyncio.sleep(5.0 + idle_s)
    await check_places(world, [driver for driver in drivers if not driver.process.dead])


async def _deeds(world: World, drivers: list[Driver], chaos: Chaos, rng: random.Random, more: random.Random) -> None:
    stops = {more.randrange(world.scenario.deeds) for _ in range(world.scenario.stops)}
    for number in range(world.scenario.deeds):
        if world.promises.complaints:
            return
        living = [driver for driver in drivers if not driver.process.dead]
        rng.choice(living).do(rng)
        if rng.random() < 0.3:
            chaos.strike()
        if more.random() < 0.15:
            chaos.strike_further()
        if number in stops:
            drivers[0].stop_something(more)
        if rng.random() < 0.1:
            chaos.say_something_stale()
        await asyncio.sleep(random_pause(rng))


@contextlib.contextmanager
def _work_as_workers_go(world: World, drivers: list[Driver]) -> Iterator[None]:
    """Often, as a group is about to let an idle worker go, somebody submits a job; so many times in a run, as workers go once more then."""
    rng, hear, left = world.rng("work as workers go"), world.history.listener, iter(range(_RACES))

    def listen(kind: str, facts: dict[str, Any]) -> None:
        hear(kind, facts)
        if kind == "dismissing" and rng.random() < 0.5 and next(left, None) is not None:
            rng.choice([driver for driver in drivers if not driver.process.dead]).submit_now()

    world.history.listener = listen
    yield
    world.history.listener = hear


async def _settle(world: World, drivers: list[Driver]) -> None:
    """Wait until everybody has heard what became of his jobs, and the queues are empty."""
    drivers = [driver for driver in drivers if not driver.process.dead]
    deadline = asyncio.get_running_loop().time() + _HEALED_S
    await drivers[0].resume_all()
    while not world.promises.complaints:
        waiting = [job for driver in drivers for job, waiter in driver.clients["main"].waiters.items()
                   if not waiter.settled and waiter.incarnation is not None]
        busy = [driver.name for driver in drivers if driver.busy]
        present = [f"{queue}: {job}" for queue, ledger in world.promises.ledgers.items() for job in ledger.present()
                   if str(ledger.entries[job].record.state) != "abandoned" or ledger.entries[job].unclear]
        if not (waiting or busy or present):
            return
        if asyncio.get_running_loop().time() > deadline:
            world.promises.complain(f"liveness: {_HEALED_S:g} s after the last fault, clients wait for {waiting}, "
                                    f"deeds of {busy} are under way, and stores hold {present}")
            for queue in world.scenario.stores:
                world.promises.complain(await say(world, queue))
            return
        await asyncio.sleep(1.0)
