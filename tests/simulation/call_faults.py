"""Calls that are lost, slow or cut off, a disk that fails, a clock that is set."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from tests.simulation.victims import Victims
from tests.simulation.world import World, raise_disk_full, raise_hit

_DEAF_TO = (("load", "dismiss"), ("expect",), ("retire",), ("update_roster",), ("attend",), ("enqueue", "arrive"), ("take_back",), ("run",),
            ("fence", "pulse"), ("cancel", "move"), ("holding", "who_am_i"))


class CallFaults:
    """Faults of what lies between processes, and of what the queues' processes stand on."""

    def __init__(self, world: World, victims: Victims, rng: random.Random) -> None:
        self._world = world
        self._weather = world.cluster.weather
        self._victims = victims
        self._rng = rng
        self.acts: dict[str, Callable[[str], None]] = {
            "lose calls": lambda what: self._for_a_while(what, self._lose_calls),
            "lose some calls": lambda what: self._for_a_while(what, self._be_deaf),
            "slow calls": lambda what: self._for_a_while(what, self._slow_calls),
            "slow deaths": lambda what: self._for_a_while(what, self._die_slowly),
            "break connections": self._break_connections,
            "fault of transport": self._fault_of_transport,
            "clock jumps": self._clock_jumps,
            "disk full": lambda what: self._arm(what, ("enq.pre_commit", "ack.pre_commit", "nack.pre"), raise_disk_full),
            "error after commit": lambda what: self._arm(what, ("enq.post_commit", "ack.post_commit", "disp.post_send"), raise_hit),
        }

    async def heal(self) -> None:
        self._clear_up()
        if self._rng.random() < 0.8:  # else what is delayed may wait for hours yet, which is right, and takes long to live through
            self._world.clock.offset = max(self._world.clock.offset, self._world.latest_offset)
        for queue in self._world.scenario.stores:
            live = self._world.live_queue(queue)
            if live is not None:
                live.transport.faults = 0

    def _for_a_while(self, what: str, begin: Callable[[], None]) -> None:
        lost_before = self._world.cluster.lost_calls
        begin()

        def end() -> None:
            if not what.startswith("lose") or self._world.cluster.lost_calls > lost_before:
                self._world.history.note("fault", what=what)
            self._clear_up()

        asyncio.get_running_loop().call_later(self._rng.choice([0.5, 3.0]), end)

    def _lose_calls(self) -> None:
        self._weather.lost = 0.2

    def _be_deaf(self) -> None:
        self._weather.deaf_to = frozenset(self._rng.choice(_DEAF_TO))

    def _slow_calls(self) -> None:
        self._weather.delays_s = [0.001, 0.1, 0.5]

    def _die_slowly(self) -> None:
        self._weather.dying_s = 0.4

    def _clear_up(self) -> None:
        self._weather.lost = self._weather.dying_s = 0.0
        self._weather.deaf_to = frozenset()
        self._weather.delays_s = list(self._world.scenario.delays_s)

    def _break_connections(self, what: str) -> None:
        worker = self._victims.busy_worker()
        if worker is not None and self._world.cluster.break_connections(worker):
            self._world.history.note("fault", what=what)

    def _fault_of_transport(self, what: str) -> None:
        queue = self._victims.live_queue()
        if queue is not None:
            queue.transport.faults += self._rng.randint(1, 2)

    def _clock_jumps(self, what: str) -> None:
        self._world.history.note("fault", what=what)
        self._world.clock.offset = self._rng.choice([-3600.0, -1.0, 0.0, 1.0, 3600.0])
        self._world.latest_offset = max(self._world.latest_offset, self._world.clock.offset)

    def _arm(self, what: str, points: Sequence[str], act: Callable[[], None]) -> None:
        self._world.armed[self._rng.choice(points)] = what, act
