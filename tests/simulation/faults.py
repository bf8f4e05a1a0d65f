"""What goes wrong in a run."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.simulation.call_faults import CallFaults
from tests.simulation.node_faults import NodeFaults
from tests.simulation.process_faults import ProcessFaults
from tests.simulation.stale_words import StaleWords
from tests.simulation.victims import Victims
from tests.simulation.world import World


class Chaos:
    """Brings about the faults of a scenario; `heal` ends them all. Each notes its fault when it has really happened."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng("chaos")
        self._further_rng = world.rng("further chaos")
        self._stale_words = StaleWords(world, self._rng)
        self._families = self._all(self._rng)
        self._acts: dict[str, Callable[[str], None]] = {name: act for family in self._families for name, act in family.acts.items()}
        self._further = {name: act for family in self._all(self._further_rng) for name, act in family.acts.items()}

    def _all(self, rng: random.Random) -> list[ProcessFaults | NodeFaults | CallFaults]:
        victims = Victims(self._world, rng)
        return [ProcessFaults(self._world, victims, rng), NodeFaults(self._world, victims, rng), CallFaults(self._world, victims, rng)]

    def strike(self) -> None:
        """One fault, of those that the scenario has."""
        if self._world.scenario.faults:
            fault = self._rng.choice(self._world.scenario.faults)
            self._acts[fault](fault)

    def strike_further(self) -> None:
        """One of the further faults that the scenario has."""
        if self._world.scenario.further_faults:
            fault = self._further_rng.choice(self._world.scenario.further_faults)
            self._further[fault](fault)

    def say_something_stale(self) -> None:
        """An outcome of an attempt that is over reaches the store: late, or a second time."""
        self._stale_words.say_one()

    async def heal(self) -> None:
        """Nothing goes wrong any more."""
        for family in self._families:
            await family.heal()


def random_pause(rng: random.Random) -> float:
    """How long until the next thing happens."""
    return rng.choice([0.0, 0.001, 0.01, 0.1, 0.5, 1.0])


