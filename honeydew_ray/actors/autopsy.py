"""Making sure that a dead worker is dead, and taking what it left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ray.exceptions import OutOfMemoryError

from honeydew_ray.actors import blackbox, cluster
from honeydew_ray.actors.errand import run_on
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.job import Token
from honeydew_ray.postmortem import Recording, reports
from honeydew_ray.transport import Lost, Report

_REMEMBERED = 1000


class Coroner:
    """Examines the dead for the queue of one node: each once, however many leases it had."""

    def __init__(self, own_node: str) -> None:
        self._own_node = own_node
        self._found: dict[str, asyncio.Task[Recording | None]] = {}

    async def examine(self, worker: WorkerRef, tokens: Sequence[Token], error: Exception) -> list[Report]:
        """What the death of a worker means for the attempts of a lease that it was sent, in the order of the lease."""
        if await self._node_is_gone(worker):
            return [Lost(_node_lost(worker))] * len(tokens)
        try:
            recording = await self.bury(worker)
        except Exception:  # the node went away, or has no process to spare
            if await self._node_is_gone(worker):
                return [Lost(_node_lost(worker))] * len(tokens)
            recording = None
        return reports(tokens, recording, str(error), out_of_memory=isinstance(error, OutOfMemoryError))

    async def bury(self, worker: WorkerRef) -> Recording | None:
        """As `bury`, once for each worker: the others are told the same."""
        burial = self._found.get(worker.id)
        if burial is None:
            burial = self._found[worker.id] = asyncio.ensure_future(bury(worker, self._own_node))
            while len(self._found) > _REMEMBERED:
                del self._found[next(iter(self._found))]
        return await asyncio.shield(burial)

    async def _node_is_gone(self, worker: WorkerRef) -> bool:
        return worker.node != self._own_node and not await asyncio.to_thread(cluster.node_is_alive, worker.node)


async def bury(worker: WorkerRef, own_node: str) -> Recording | None:
    """Make sure that a worker that Ray has declared dead is dead, and take what it left, on its own node."""
    return await run_on(worker.node, own_node, blackbox.bury, worker.id)


def _node_lost(worker: WorkerRef) -> Failure:
    return Failure("node_lost", "NodeLost", f"the worker's node {worker.node} is gone")
