"""Outcomes that come too late, or a second time."""

from __future__ import annotations

import asyncio
import random

from honeydew_ray import lifecycle
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord
from tests.simulation.loop import start_in
from tests.simulation.queue import SimQueue
from tests.simulation.world import World

_OLD = -1
_LOST = Failure("node_lost", "NodeLost", "a late word")


class StaleWords:
    """Says to a store what an attempt that is over came to; nothing may change."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._tasks: list[asyncio.Task[None]] = []

    def say_one(self) -> None:
        queue = self._world.live_queue(self._rng.choice(["main", "main", "other"]))
        self._tell_old_progress()
        if queue is not None and queue.store.issued and not queue.core._closed:
            process = self._world.queue_actor(queue.core.name).process
            self._tasks.append(start_in(process, self._say_stale(queue, self._rng.choice(queue.store.issued))))

    def _tell_old_progress(self) -> None:
        """Progress of attempts that are over reaches their queue; it is not that of the attempts which run now."""
        for name in self._world.scenario.stores:
            queue = self._world.live_queue(name)
            for job in [] if queue is None else queue.store.issued:
                monitor = None if queue is None else queue.core.floor.monitors.get(job.id)
                if queue is None or monitor is None or job.token in (monitor.token, monitor.job.token):
                    continue
                queue.core.progressed(job.id, job.attempt, job.incarnation, _OLD)
                if monitor.progress == _OLD:
                    self._world.promises.complain(f"progress: {monitor.token} shows that of {job.token}")

    async def _say_stale(self, queue: SimQueue, job: JobRecord) -> None:
        await queue.core.floor.mailbox.ask(lambda: self._say(queue, job))

    async def _say(self, queue: SimQueue, job: JobRecord) -> None:
        current = queue.core.floor.monitors.get(job.id)
        entry = self._world.promises.ledgers[queue.core.name].entries.get(job.id)
        if current is not None and current.job.token == job.token:
            return  # it is no late word, but the truth
        if entry is not None and entry.unclear:
            return  # it is being settled
        if job.id in queue.core.floor.holdings or queue.core._closed:
            return
        now = self._world.clock.now()
        late = lifecycle.succeeded(job, now, None) if self._rng.random() < 0.5 else lifecycle.redelivered(job, _LOST)
        answer = await (queue.store.inner.ack([late]) if late.completed_at is not None else queue.store.inner.nack([late]))
        if answer != [False]:
            self._world.promises.complain(f"promise 5: a stale outcome of {job.token} changed the store of queue {queue.core.name}")
