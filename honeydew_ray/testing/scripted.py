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
from honeydew_ray.transport import Attempt, Died, Holding, Lost, NotStarted, Raised, Report, Returned, Stopped


@dataclass(slots=True)
class _Flight:
    """An attempt on its way to a worker, or running there."""

    worker: str
    begun: bool = False
    recalled: bool = False
    stopped: bool = False
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    report: Report | None = None


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
    with ``spoils`` a job that raised leaves its worker's state to be made anew. A job takes as long
    as its script says, and says that it took ``ran_s`` at least. A worker runs ``concurrency`` jobs at once.
    """

    def __init__(self, latency_s: float = 0.001, spoils: bool = True, ran_s: float = 0.0, concurrency: int = 1) -> None:
        self.latency_s = latency_s
        self.spoils = spoils
        self.ran_s = ran_s
        self.concurrency = concurrency
        self.starts: list[Start] = []
        self.killed: list[str] = []
        self.queues: dict[str, QueueCore] = {}
        self.dead: set[str] = set()
        self.leases: list[int] = []  # the size of each, in order of issue
        self._flights: dict[Token, _Flight] = {}
        self._kept: dict[Token, tuple[WorkerRef, asyncio.Task[Report]]] = {}  # attempts that no queue has settled

    async def run(self, worker: WorkerRef, attempts: Sequence[Attempt]) -> list[Report]:
        self.leases.append(len(attempts))
        for attempt in attempts:
            self._flights[attempt.token] = _Flight(worker.id)
        whole = asyncio.ensure_future(self._fly(worker, attempts))
        for attempt in attempts:
            self._kept[attempt.token] = worker, asyncio.ensure_future(_one_of(whole, attempts.index(attempt)))
        return await asyncio.shield(whole)  # a queue that loses its process does not stop its workers

    async def resume(self, worker: WorkerRef, token: Token) -> Report:
        return await asyncio.shield(self._kept[token][1])

    async def survivors(self, queue: str) -> list[Holding]:
        await asyncio.sleep(self.latency_s)
        workers = {worker for worker, _ in self._kept.values() if worker.id not in self.dead}
        return [Holding(worker, tuple(token for token, (holder, _) in self._kept.items() if holder == worker))
                for worker in sorted(workers, key=lambda worker: worker.id)]

    def settled(self, worker: WorkerRef, token: Token) -> None:
        self._kept.pop(token, None)

    async def _fly(self, worker: WorkerRef, attempts: Sequence[Attempt]) -> list[Report]:
        flights = [self._flights[attempt.token] for attempt in attempts]
        try:
            await asyncio.sleep(self.latency_s)
            return await self._work_off(worker, attempts, flights)
        finally:
            for attempt, flight in zip(attempts, flights, strict=True):
                del self._flights[attempt.token]
                flight.over.set()

    async def _work_off(self, worker: WorkerRef, attempts: Sequence[Attempt], flights: list[_Flight]) -> list[Report]:
        for at, (attempt, flight) in enumerate(zip(attempts, flights, strict=True)):
            flight.report = await self._act(worker, attempt, flight)
            flight.over.set()
            if worker.id in self.dead:  # with the answers it kept; those before the last begun one had begun too
                lost: list[Report] = [Lost(Failure("exit", "AnswerLost", "as scripted"))] * at
                return [*lost, flight.report, *[NotStarted(worker_alive=False)] * (len(attempts) - at - 1)]
            if isinstance(flight.report, Raised) and flight.report.spoilt:
                for later in flights[at + 1:]:
                    later.recalled = True
        return [flight.report for flight in flights if flight.report is not None]

    async def take_back(self, worker: WorkerRef, tokens: Sequence[Token]) -> list[Report | None]:
        return [self._taken_back(token) for token in tokens]

    def _taken_back(self, token: Token) -> Report | None:
        flight = self._flights.get(token)
        if flight is None or flight.begun:
            return None if flight is None else flight.report
        flight.recalled = True
        return NotStarted(worker_alive=True)

    async def stop(self, worker: WorkerRef, token: Token) -> bool:
        flight = self._flights.get(token)
        if flight is None or self.concurrency == 1:
            return False
        flight.stopped = True
        flight.killed.set()
        return True

    async def wait_idle(self, worker: WorkerRef) -> bool:
        while flights := [flight for flight in self._flights.values() if flight.worker == worker.id]:
            await flights[0].over.wait()
            await asyncio.sleep(0)
        return worker.id not in self.dead

    def kill(self, worker: WorkerRef) -> None:
        self.killed.append(worker.id)
        self.dead.add(worker.id)
        for flight in self._flights.values():
            if flight.worker == worker.id:
                flight.killed.set()

    async def end(self, worker: WorkerRef) -> None:
        self.kill(worker)
        await self.wait_idle(worker)

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
        running = [other for other in self._flights.values() if other.worker == worker.id and other.begun and not other.over.is_set()]
        assert len(running) <= self.concurrency, f"worker {worker.id} runs {len(running)} jobs at once"
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
                return self._value(word)

    async def _last(self, flight: _Flight, seconds: float | None) -> Report:
        try:
            await asyncio.wait_for(flight.killed.wait(), seconds)
        except asyncio.TimeoutError:
            return self._value("slept", seconds)
        return Stopped() if flight.stopped else Died(Failure("signal", "WorkerKilled", "killed", signal=9))

    def _value(self, value: object, seconds: float | None = None) -> Returned:
        return Returned(Payload(dumps_whole(value, "value")), max(self.ran_s, seconds or 0.0))


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


async def _one_of(whole: asyncio.Future[list[Report]], index: int) -> Report:
    return (await asyncio.shield(whole))[index]
