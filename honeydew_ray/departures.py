"""How workers leave a group: with their queue's leave, so that no job is lost with them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

from honeydew_ray.staffing import Retire

_BEFORE_NODE_LEAVES_S = 1.0  # to redeliver a job that did not end in time


class Departures:
    """Ends single workers of a group, as its supervisor decides.

    ``incarnation`` is that of the group's process, by which the queue tells whose word it was. ``ask_queue(method, *args)`` answers
    None if the queue is gone; ``kill`` ends a worker at once; ``dismissed`` is told of a worker that has no job in hand and will be
    given none.
    """

    def __init__(self, incarnation: str, ask_queue: Callable[..., Awaitable[Any]], kill: Callable[[str], None],
                 dismissed: Callable[[str], None]) -> None:
        self._incarnation = incarnation
        self._ask_queue = ask_queue
        self._kill = kill
        self._dismissed = dismissed

    async def let_go(self, retire: Retire) -> None:
        """Its node leaves: end it once it has no job in hand or its time is up."""
        within_s = None if math.isinf(retire.within_s) else max(retire.within_s - _BEFORE_NODE_LEAVES_S, 0.0)
        await self._ask_queue("retire", [retire.worker_id], self._incarnation, within_s)
        self._kill(retire.worker_id)

    async def dismiss(self, worker_id: str) -> None:
        """It is not needed: end it, unless it has a job in hand."""
        if await self._ask_queue("dismiss", [worker_id], self._incarnation):
            self._dismissed(worker_id)

    async def fence(self, worker_id: str, end: Callable[[], Awaitable[None]]) -> None:
        """It does not answer: the queue ends it if it has a job in hand, which it then redelivers; else ``end`` does."""
        if not await self._ask_queue("fence", worker_id, self._incarnation):
            await end()
