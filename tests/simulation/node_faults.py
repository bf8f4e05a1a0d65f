"""Nodes that go down, that are cut off, that drain, and that join."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable

from tests.simulation.scenario import NEW_NODE, NODES
from tests.simulation.victims import Victims, process_of
from tests.simulation.world import World

_LEAVES_AFTER_S = (0.5, 3.0, 8.0, math.inf)
_GOES_AT_LAST_S = 15.0


class NodeFaults:
    """Faults of nodes; one that drains may come back before its time is up, as when its drain is called off."""

    def __init__(self, world: World, victims: Victims, rng: random.Random) -> None:
        self._world = world
        self._cluster = world.cluster
        self._victims = victims
        self._rng = rng
        self.acts: dict[str, Callable[[str], None]] = {
            "lose node": self._lose,
            "cut node off": self._cut_off,
            "drain node": self._drain,
            "drain node in a crash": self._drain_in_a_crash,
            "node joins": self._join,
        }

    async def heal(self) -> None:
        for node in NODES:
            while node in self._cluster.cut_off:  # noqa: ASYNC110 - under virtual time waiting costs nothing
                await asyncio.sleep(1.0)
            self._bring_back(node)

    def _some(self) -> str | None:
        """One that runs jobs, more often than not."""
        busy = sorted({node for _, node in self._world.promises.running.values() if node in NODES})
        node = self._rng.choice(busy if busy and self._rng.random() < 0.7 else NODES)
        sound = self._cluster.nodes[node] and node not in self._cluster.cut_off and node not in self._cluster.draining
        return node if sound else None

    def _lose(self, what: str) -> None:
        node = self._some()
        if node is not None:
            self._note(what, node)
            self._cluster.lose_node(node)
            self._later(self._rng.choice([5.0, 15.0]), lambda: self._bring_back(node))

    def _cut_off(self, what: str) -> None:
        node = self._some()
        if node is not None:
            self._note(what, node)
            self._cluster.cut_node_off(node, self._rng.choice([0.5, 10.0]))
            self._later(20.0, lambda: self._bring_back(node))

    def _drain(self, what: str) -> None:
        node = self._some()
        if node is None:
            return
        after_s = self._rng.choice(_LEAVES_AFTER_S)
        self._note(what, node, leaves_after_s=after_s)
        leaves_at = self._cluster.draining[node] = self._world.clock.now() + after_s
        self._later(min(after_s, _GOES_AT_LAST_S), lambda: self._leave(node, leaves_at))
        self._later(_GOES_AT_LAST_S + 5.0, lambda: self._bring_back(node))

    def _drain_in_a_crash(self, what: str) -> None:
        """Whoever is to see to it that workers leave in time is killed, within a second or so."""
        self._drain(what)
        actor = self._rng.choice([self._victims.group, self._victims.queue])()
        process = process_of(actor)
        if process is not None:
            self._later(self._rng.choice([0.0, 0.3, 2.1, 2.5]), process.kill)

    def _leave(self, node: str, leaves_at: float) -> None:
        if self._cluster.draining.get(node) == leaves_at and node not in self._cluster.cut_off:
            self._world.history.note("left", node=node)
            self._cluster.lose_node(node)

    def _join(self, what: str) -> None:
        if NEW_NODE not in self._cluster.nodes:
            self._note(what, NEW_NODE)
            self._cluster.nodes[NEW_NODE] = True

    def _bring_back(self, node: str) -> None:
        self._cluster.bring_back(node)
        self._world.history.note("back", node=node)

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, act)

    def _note(self, what: str, node: str, **facts: object) -> None:
        self._world.history.note("fault", what=what, node=node, **facts)
