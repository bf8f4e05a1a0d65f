"""Queues and groups that are ended and started again, under load and whatever else goes wrong, as `Queue.stop` and `stop_workers` do."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping

from honeydew_ray.actors import names
from honeydew_ray.errors import HoneydewError
from tests.simulation.client import SimClient
from tests.simulation.cluster import Actor, ActorUnavailable, CallFailed
from tests.simulation.world import World

_RETRY_S = 0.25
_PAUSES_S = (0.0, 0.5, 5.0)


class Stops:
    """Ends and starts what a world has; one queue or group at a time."""

    def __init__(self, world: World, clients: Mapping[str, SimClient]) -> None:
        self.one_at_a_time = asyncio.Lock()
        self._world = world
        self._clients = clients

    async def stop_something(self, rng: random.Random) -> None:
        """Stop a queue, drained or not, or only its workers; then start them again."""
        queue = rng.choice(["main", "main", "other"])
        async with self.one_at_a_time:
            if rng.random() < 0.4:
                await self._restart_group(queue, rng.choice(_PAUSES_S))
            else:
                await self._restart_queue(queue, rng.random() < 0.5, rng.choice(_PAUSES_S))

    async def _restart_group(self, queue: str, pause_s: float) -> None:
        await self._stop_group(queue)
        self._world.history.note("case", what="a group is stopped and started")
        await asyncio.sleep(pause_s)
        await self._world.start_group(queue)

    async def _restart_queue(self, queue: str, drain: bool, pause_s: float) -> None:
        client = self._clients[queue]
        if drain:
            try:
                await client.call("drain", 20.0)
            except (HoneydewError, TimeoutError) as error:
                self._world.history.note("case", what="a drain that gives up")
                self._world.history.note("deed_failed", driver="stop", error=type(error).__name__)
                return
        await self._stop_group(queue)
        actor = self._world.queue_actor(queue)
        with contextlib.suppress(HoneydewError, CallFailed, asyncio.TimeoutError):
            await asyncio.wait_for(client.call("close"), 60.0)
        await self._end(actor)
        self._world.history.note("stopped", queue=queue)
        self._world.history.note("case", what="a drained queue is stopped and started" if drain else "a queue is stopped and started")
        await asyncio.sleep(pause_s)
        order: list[Callable[[str], object]] = [self._world.start_queue, self._world.start_group]
        self._world.history.note("started", queue=queue)
        for start in order if pause_s else reversed(order):
            await start(queue)  # type: ignore[misc]

    async def _stop_group(self, queue: str) -> None:
        actor = self._world.cluster.actors[names.group_actor(queue, "default")]
        while True:
            try:
                await self._world.cluster.call(actor, "stop")
                break
            except ActorUnavailable:
                await asyncio.sleep(_RETRY_S)
            except CallFailed:
                break
        await self._end(actor)
        self._world.history.note("group_stopped", queue=queue, prefix=names.worker_actor(names.worker_prefix(queue, "default")))

    async def _end(self, actor: Actor) -> None:
        self._world.cluster.kill(actor)
        while not actor.dead or (actor.process is not None and not actor.process.dead):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
