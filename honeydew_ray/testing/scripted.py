"""Workers that do what their job's argument says, for tests of the deciding core without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.errors import QueueNotFound
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobId, JobRecord, Token
from honeydew_ray.payload import Payload, dumps_whole
from honeydew_ray.queue_core import QueueCore
from honeydew_ray.transport import Attempt, Died, Holding, Lost, NotStarted, Raised, Report, Returned


@dataclass(slots=True)
class _Flight:
    """An attempt on its way to a worker, or running there."""

    token: Token
    begun: bool = False
    recalled: bool = False
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Start:
    """A job began on a worker, at a time of the loop."""

    job_id: JobId
    attempt: int
    worker: str
    at: float


class ScriptedWorkers:
    """A `Transport` whose workers act out each job's first argument.

    The script is a word, or a list with a word for each attempt (the last one again for those
    after). The words: ``ok``; ``raise``; ``exit 3`` and ``signal 9`` (the worker dies so);
    ``lost`` (its node goes); ``dead`` (it was dead before the job came); ``hang`` (until killed);
    ``sleep 5`` (seconds, then ok). ``latency_s`` is how long an attempt is under way to its worker;
    with ``spoils`` a job that raised leaves its worker's state to be made anew.
    """

    def __init__(self, latency_s: float = 0.001, spoils: bool = True) -> None:
        self.latency_s = latency_s
        self.spoils = spoils
        self.starts: list[Start] = []
        self.killed: list[str] = []
        self.queues: dict[str, QueueCore] = {}
        self.dead: set[str] = set()
        self._flights: dict[str, _Flight] = {}
        self._kept: dict[Token, tuple[WorkerRef, asyncio.Task[Report]]] = {}  # attempts that no queue has settled

    async def run(self, worker: WorkerRef, attempt: Attempt) -> Report:
        assert worker.id not in self._flights, f"worker {worker.id} was given two jobs at once"
        self._flights[worker.id] = _Flight(attempt.token)
        task = asyncio.ensure_future(self._fly(worker, attempt))
        self._kept[attempt.token] = worker, task
        return await asyncio.shield(task)  # a queue that loses its process does not stop its workers

    async def resume(self, worker: WorkerRef, token: Token) -> Report:
        return await asyncio.shield(self._kept[token][1])

    async def survivors(self, queue: str) -> list[Holding]:
        await asyncio.sleep(self.latency_s)
        workers = {worker for worker, _ in self._kept.values() if worker.id not in self.dead}
        return [Holding(worker, tuple(token for token, (holder, _) in self._kept.items() if holder == worker))
                for worker in sorted(workers, key=lambda worker: worker.id)]

    def settled(self, worker: WorkerRef, token: Token) -> None:
        self._kept.pop(token, None)

    async def _fly(self, worker: WorkerRef, attempt: Attempt) -> Report:
        flight = self._flights[worker.id]
        try:
            await asyncio.sleep(self.latency_s)
            return await self._act(worker, attempt, flight)
        finally:
            del self._flights[worker.id]
            flight.over.set()

    async def recall(self, worker: WorkerRef, token: Token) -> bool:
        flight = self._flights.get(worker.id)
        if flight is None or flight.token != token or flight.begun:
            return False
        flight.recalled = True
        return True

    async def wait_idle(self, worker: WorkerRef) -> bool:
        while worker.id in self._flights:
            await self._flights[worker.id].over.wait()
        return worker.id not in self.dead

    def kill(self, worker: WorkerRef) -> None:
        self.killed.append(worker.id)
        self.dead.add(worker.id)
        if worker.id in self._flights:
            self._flights[worker.id].killed.set()

    async def enqueue(self, queue: str, jobs: Sequence[JobRecord]) -> None:
        await asyncio.sleep(self.latency_s)
        if queue not in self.queues:
            raise QueueNotFound(f"no queue {queue!r}")
        await self.queues[queue].enqueue(jobs, moved=True)

    async def _act(self, worker: WorkerRef, attempt: Attempt, flight: _Flight) -> Report:
        if flight.recalled:
            return NotStarted(worker_alive=True)
        word, _, argument = script_of(attempt).partition(" ")
        if worker.id in self.dead or word == "dead":
            self.dead.add(worker.id)
            return NotStarted(worker_alive=False)
        flight.begun = True
        self.starts.append(Start(attempt.token.job_id, attempt.token.attempt, worker.id, asyncio.get_running_loop().time()))
        match word:
            case "raise":
                return Raised(Failure("exception", "ValueError", "as scripted", "Traceback: as scripted"), self.spoils)
            case "exit" | "signal" | "lost":
                self.dead.add(worker.id)
                return _death(word, argument)
            case "hang" | "sleep":
                return await self._last(flight, None if word == "hang" else float(argument))
            case _:
                return _value(word)

    async def _last(self, flight: _Flight, seconds: float | None) -> Report:
        try:
            await asyncio.wait_for(flight.killed.wait(), seconds)
        except asyncio.TimeoutError:
            return _value("slept")
        return Died(Failure("signal", "WorkerKilled", "killed", signal=9))


def script_of(attempt: Attempt) -> str:
    """What a job's argument says that this attempt shall do."""
    script = attempt.payload.load()[1][0]
    return script if isinstance(script, str) else script[min(attempt.token.attempt, len(script)) - 1]


def scripted_payload(script: str | list[str]) -> Payload:
    """The arguments of a job with this script."""
    return Payload(dumps_whole((None, (script,), {}), "script"))


def _death(word: str, argument: str) -> Report:
    if word == "lost":
        return Lost(Failure("node_lost", "NodeLost", "as scripted"))
    number = int(argument)
    if word == "exit":
        return Died(Failure("exit", "WorkerExited", "as scripted", exit_code=number))
    return Died(Failure("signal", "WorkerKilled", "as scripted", signal=number))


def _value(value: object) -> Returned:
    return Returned(Payload(dumps_whole(value, "value")))
