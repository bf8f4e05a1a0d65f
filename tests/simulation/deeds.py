"""What clients do in a run: each deed is something a user may do at any time, and notes what it asked and heard."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any

from honeydew_ray import lifecycle
from honeydew_ray.errors import EnqueueUncertain, HoneydewError, QueueFull, QueueNotFound, StoreError
from honeydew_ray.failpoints import FailpointHit
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState
from honeydew_ray.stores.base import Query
from honeydew_ray.testing.scripted import scripted_payload
from tests.simulation.client import AT_DOOR_S, SimClient
from tests.simulation.cluster import CallFailed
from tests.simulation.loop import Process, start_in
from tests.simulation.stops import Stops
from tests.simulation.worker import WORDS
from tests.simulation.world import World, raise_hit

_METHOD = "work"
_CALL_S = 60.0
_STOP_S = 900.0


class Driver:
    """One program that uses the queues: a client of each, and a random series of deeds."""

    def __init__(self, world: World, number: int, submitted: list[JobId]) -> None:
        self.name = f"driver{number}"
        self.process: Process = world.new_driver(self.name)
        self.clients = {queue: SimClient(f"{self.name}/{queue}", queue, world.queue_actor(queue), world.cluster, world.history)
                        for queue in world.scenario.stores}
        self.busy = 0  # deeds under way
        self._world = world
        self._rng = world.rng(self.name)
        self._further_rng = world.rng(f"{self.name}, further")
        self._numbers = itertools.count(1)
        self._suspending = asyncio.Lock()
        self._stops = Stops(world, self.clients)
        self._submitted = submitted  # by any driver
        self._payloads: dict[tuple[str, ...], Any] = {}

    def begin(self) -> asyncio.Task[None]:
        return start_in(self.process, self._connect())

    def do(self, rng: random.Random) -> asyncio.Task[None]:
        """Begin a random deed, as this driver's process."""
        deeds: list[Callable[[], Coroutine[Any, Any, None]]] = (
            [self.submit] * 10 + [self.cancel] * 4 + [self.look] * 3 + [self.move, self.retry, self.suspend] * 2
            + [self.submit_again] * 2 + [self.bounce]
        )
        return start_in(self.process, self._account(rng.choice(deeds)))

    def submit_now(self) -> asyncio.Task[None]:
        """Submit jobs, at once."""
        return start_in(self.process, self._account(self.submit))

    def stop_something(self, rng: random.Random) -> asyncio.Task[None]:
        """End a queue or a group of workers, and start it again: the first driver's deed, which lives to do the second half."""
        return start_in(self.process, self._account(lambda: self._stops.stop_something(rng), _STOP_S))

    async def _connect(self) -> None:
        for client in self.clients.values():
            await client.connect()

    async def _account(self, deed: Callable[[], Coroutine[Any, Any, None]], limit_s: float = _CALL_S) -> None:
        self.busy += 1
        try:
            await asyncio.wait_for(deed(), limit_s)
        except (HoneydewError, CallFailed, asyncio.TimeoutError, FailpointHit) as error:
            self._world.history.note("deed_failed", driver=self.name, error=type(error).__name__)
        finally:
            self.busy -= 1

    # -- deeds ---------------------------------------------------------------------------------

    async def submit(self) -> None:
        jobs = [self._new_job() for _ in range(self._rng.choice([1, 1, 2, 5]))]
        await self._enqueue(jobs)

    async def submit_again(self) -> None:
        """The same ids once more, as a caller does that chose them and does not know whether they arrived."""
        jobs = [self._new_job()]
        await self._enqueue(jobs)
        await asyncio.sleep(self._rng.choice([0.0, 0.1, 1.0]))
        if self._rng.random() < 0.5:
            await self._cancel("main", jobs[0].id)
            process = self._world.queue_actor("main").process
            if "kill queue" in self._world.scenario.faults and self._rng.random() < 0.5 and process is not None:
                self._world.history.note("fault", what="kill queue")
                process.kill()
        elif self._further_rng.random() < 0.5:
            await self._submit_again_amid_a_move(jobs)
            return
        await self._enqueue(jobs)

    async def _submit_again_amid_a_move(self, jobs: list[JobRecord]) -> None:
        if "error after commit" in self._world.scenario.faults:  # most likely as the job leaves
            self._world.armed["ack.post_commit"] = "error after commit", raise_hit
        moving = start_in(self.process, self._move("main", jobs[0].id, "other"))
        await asyncio.sleep(self._further_rng.choice([0.05, 0.3]))
        try:
            await self._enqueue(jobs)
        finally:
            await moving

    async def cancel(self) -> None:
        queue, job = self._rng.choice(["main", "main", "other"]), self._some_job()
        if job is None:
            return
        await self._cancel(queue, job)

    async def _cancel(self, queue: str, job: JobId) -> None:
        self._asked("cancel", queue, job)
        outcome: CancelOutcome = await self.clients[queue].call("cancel", job, self._rng.random() < 0.4)
        self._world.history.note("answered", what="cancel", queue=queue, job=job, answer=str(outcome))

    async def move(self) -> None:
        queue, job = self._rng.choice(["main", "main", "other"]), self._some_job()
        if job is None:
            return
        await self._move(queue, job, "nowhere" if self._rng.random() < 0.1 else "other" if queue == "main" else "main")

    async def _move(self, queue: str, job: JobId, to: str) -> None:
        self._asked("move", queue, job)
        await self.clients[queue].call("move", job, to)
        self._world.history.note("answered", what="move", queue=queue, job=job, answer=to)

    async def bounce(self) -> None:
        """A job goes from queue to queue and back."""
        job = self._some_job()
        for _ in range(2):
            for queue, to in (("main", "other"), ("other", "main")):
                if job is not None:
                    await self._move(queue, job, to)
                    self._world.history.note("case", what=f"a job bounces to {to}")

    async def retry(self) -> None:
        """Submit a dead job again."""
        client = self.clients["main"]
        dead = [job for job, waiter in client.waiters.items() if waiter.end is not None and waiter.end.state is JobState.ABANDONED]
        if not dead:
            return
        job = self._rng.choice(dead)
        self._asked("retry", "main", job)
        await client.call("retry", job)
        await client.expect_again(job)

    async def look(self) -> None:
        """What nobody may change anything by."""
        client = self.clients[self._rng.choice(["main", "other"])]
        page = await client.call("page", Query())
        ids = [job.id for job in page.jobs]
        if len(set(ids)) != len(ids):
            self._world.promises.complain(f"a page shows a job twice: {ids}")
        await client.call("status")
        running = [job.id for job in page.jobs if job.state is JobState.IN_PROGRESS]
        for job in (running or ids)[:3]:
            await client.call("describe", job)

    async def suspend(self) -> None:
        """Suspend a queue, and resume it after a while; one driver does that, so that it is clear what holds when."""
        if self.name != "driver0":
            return
        queue = self._rng.choice(["main", "main", "other"])
        async with self._suspending:
            try:
                self._asked("suspend", queue)
                await self.clients[queue].call("suspend")
                self._world.history.note("answered", what="suspend", queue=queue, answer="ok")
                process = self._world.queue_actor(queue).process
                if "kill queue" in self._world.scenario.faults and self._rng.random() < 0.5 and process is not None:
                    self._world.history.note("fault", what="kill queue")
                    process.kill()
                await asyncio.sleep(self._rng.choice([0.05, 0.5, 3.0]))
            finally:
                self._asked("resume", queue)
                await self.clients[queue].call("resume")

    def resume_all(self) -> asyncio.Task[None]:
        """After all that is under way, make sure that no queue is suspended."""
        return start_in(self.process, self._account(self._resume_all))

    async def _resume_all(self) -> None:
        async with self._suspending, self._stops.one_at_a_time:
            for queue in self.clients:
                await self._resume(queue)

    async def _resume(self, queue: str) -> None:
        while True:
            self._asked("resume", queue)
            try:
                await self.clients[queue].call("resume")
                return
            except QueueNotFound:  # it was stopped, and this process has yet to find the one that was started in its place
                await asyncio.sleep(0.25)

    # ------------------------------------------------------------------------------------------

    async def _enqueue(self, jobs: list[JobRecord]) -> None:
        names = [job.id for job in jobs]
        self._submitted += [name for name in names if name not in self._submitted]
        self._world.history.note("submit", client=self.name, jobs=names, scripts=[job.method for job in jobs])
        try:
            await self.clients["main"].enqueue(jobs, self._rng.choice([AT_DOOR_S, AT_DOOR_S, 0.0]))
        except (StoreError, QueueNotFound, QueueFull) as error:
            self._world.history.note("refused", client=self.name, jobs=names, surely=not isinstance(error, StoreError))
            for name in names:
                if self.clients["main"].waiters[name].incarnation is None:
                    del self.clients["main"].waiters[name]
            raise
        except (EnqueueUncertain, FailpointHit):
            self._world.history.note("uncertain", client=self.name, jobs=names)
            raise
        self._world.history.note("accepted", client=self.name, jobs=names)

    def _new_job(self) -> JobRecord:
        script = [self._rng.choice(WORDS) for _ in range(2)] + ["ok"]
        if self._rng.random() < 0.1:
            script = [self._rng.choice(["raise", "exit 1"])]
        if tuple(script) not in self._payloads:
            self._payloads[tuple(script)] = scripted_payload(script)
        job_id = f"{self.name}-{next(self._numbers)}"
        patience_s = self._rng.choice([1.0, 5.0] if "hang" in script else [None, None, 1.0])
        blank = JobRecord(job_id, "main", _METHOD, self._payloads[tuple(script)], priority=self._rng.choice([0, 0, 5]),
                          timeout_s=patience_s, client=self.clients["main"].name)
        return lifecycle.enqueued(blank, "main", self._world.clock.now(), self._rng.choice([0.0, 0.0, 0.0, 0.4, 5.0]))

    def _some_job(self) -> JobId | None:
        return self._rng.choice(self._submitted[-20:]) if self._submitted else None

    def _asked(self, what: str, queue: str, job: JobId | None = None) -> None:
        self._world.history.note("asked", what=what, queue=queue, job=job)
