"""Hearing from a simulated worker every so often: what `Probe` does, step for step."""

from __future__ import annotations

import asyncio

from tests.simulation.cluster import Actor, ActorUnavailable, Cluster

_CALLS = 3
_AFTER_A_CALL_S = 0.1


class SimProbe:
    """Calls one worker again and again; a process that is paused does not answer, and may use a processor even so."""

    def __init__(self, cluster: Cluster, actor: Actor, timeout_s: float) -> None:
        self._cluster = cluster
        self._actor = actor
        self._timeout_s = timeout_s
        self._heard = asyncio.get_running_loop().time()

    async def silence(self) -> tuple[float, float]:
        """Return when the worker has not answered for ``timeout_s``: how long that was, and how much processor time it used meanwhile."""
        loop = asyncio.get_running_loop()
        while loop.time() - self._heard < self._timeout_s:
            await asyncio.sleep(self._timeout_s / _CALLS)
            try:
                await asyncio.wait_for(self._cluster.call(self._actor, "pulse"), self._timeout_s)
                self._heard = loop.time()
            except (ActorUnavailable, asyncio.TimeoutError):
                continue
        await asyncio.sleep(_AFTER_A_CALL_S)
        silent_s = loop.time() - self._heard
        self._heard = loop.time()
        process = self._actor.process
        return silent_s, silent_s if process is not None and process.computes else 0.0
