"""A simulated worker's process: what `WorkerActor` does, with jobs that act out a script."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from honeydew_ray.failure import Failure
from honeydew_ray.job import Token
from honeydew_ray.payload import Payload
from honeydew_ray.testing.scripted import script_of
from honeydew_ray.transport import Attempt
from tests.simulation.history import History
from tests.simulation.loop import Process

WORDS = ["ok"] * 10 + ["raise", "raise", "leave", "exit 3", "signal 11", "memory", "sleep 0.05", "sleep 0.5", "sleep 4", "hang"]
"""What an attempt at a job may be told to do."""


class WhoAmI(NamedTuple):
    """What a worker says of itself."""

    node: str
    epoch: int
    attempted: int


class Answer(NamedTuple):
    """What became of an attempt: a result, a failure, stopped when asked to, or nothing if it had been taken back."""

    result: Payload | None = None
    failure: Failure | None = None
    spoilt: bool = False
    ran_s: float | None = None
    stopped: bool = False


NOT_STARTED = Answer()
NOT_ON_SPOILT_STATE = Answer(spoilt=True)
SEVERAL = "*"
"""What stands in the black box instead of a token while several jobs run."""


class Habits(NamedTuple):
    """How the workers of a run behave."""

    result: Payload
    init_fails: int = 0  # how often making the state raises before it works
    spoils: bool = True
    concurrency: int = 1


Tell = Callable[..., Awaitable[None]]
"""Sends progress to the queue; never raises."""


class SimWorker:
    """One process that runs jobs; `init` and `run` share its main thread, or so many threads, the rest answers meanwhile.

    Keeps each answer until the queue says that it is settled, and never begins what was taken back.
    """

    def __init__(self, worker_id: str, process: Process, history: History, habits: Habits, tell: Tell) -> None:
        self.id = worker_id
        self.box: Token | str | None = None  # what was begun last: to be read after a death
        self.end: Failure | None = None  # how the process ended, if it says so
        self._process = process
        self._history = history
        self._habits = habits
        self._tell = tell
        self._main = asyncio.Semaphore(habits.concurrency)
        self._epoch = self._attempted = 0
        self._spoilt = False
        self._inits_to_fail = habits.init_fails
        self._waiting: dict[Token, None] = {}
        self._running: dict[Token, asyncio.Future[Answer]] = {}
        self._until: dict[Token, float] = {}  # when a running job's time is up
        self._kept: dict[Token, Answer] = {}
        self._recalled: dict[Token, None] = {}
        self._changed = asyncio.Condition()
        self._watcher = asyncio.Event()

    @property
    def had_state(self) -> bool:
        """Whether anybody asked it to make one."""
        return self._attempted > 0

    async def who_am_i(self) -> WhoAmI:
        return WhoAmI(self._process.node, self._epoch, self._attempted)

    async def init(self, epoch: int) -> str | None:
        """Make the state anew: None if it worked, else the error."""
        async with self._main:
            self._attempted, self._epoch, self._spoilt = epoch, 0, False
            await asyncio.sleep(0.02)
            if self._inits_to_fail > 0:
                self._inits_to_fail -= 1
                return "RuntimeError: not yet"
            self._epoch = epoch
            self._history.note("init", worker=self.id, epoch=epoch)
            return None

    async def run(self, attempts: Sequence[Attempt], settled: Sequence[Token]) -> list[Answer]:
        """Run the jobs of a lease in order; the answers are kept until they are settled."""
        self._history.note("received", worker=self.id, tokens=[attempt.token for attempt in attempts])
        async with self._main:
            for token in settled:
                self._kept.pop(token, None)
            for attempt in attempts:
                if attempt.token in self._recalled:
                    del self._recalled[attempt.token]
                else:
                    self._waiting[attempt.token] = None
            return [await self._run(attempt) for attempt in attempts]

    async def _run(self, attempt: Attempt) -> Answer:
        token = attempt.token
        begins = token in self._waiting and not self._spoilt
        self._waiting.pop(token, None)
        if not begins:
            self._history.note("taken_back", worker=self.id, token=token)
            return NOT_ON_SPOILT_STATE if self._spoilt else NOT_STARTED
        self._until[token] = math.inf if attempt.timeout_s is None else asyncio.get_running_loop().time() + attempt.timeout_s
        running = self._running[token] = asyncio.ensure_future(self._act(attempt))
        self._record()
        try:
            answer = await running
        except asyncio.CancelledError:  # somebody stopped it
            self._history.note("end", job=token.job_id, token=token, worker=self.id, how="stopped")
            answer = Answer(stopped=True)
        del self._running[token], self._until[token]
        self._kept[token] = answer
        self._spoilt = self._spoilt or answer.spoilt
        if self._running:
            self._record()
        async with self._changed:
            self._changed.notify_all()
        return answer

    def _record(self) -> None:
        self.box = next(iter(self._running)) if len(self._running) == 1 else SEVERAL

    async def pulse(self) -> None:
        """It is heard from."""

    async def watch(self) -> None:
        """Answers only when somebody else watches; the call that is pending hears of the process's death."""
        self._watcher.set()
        self._watcher = mine = asyncio.Event()
        await mine.wait()

    async def take_back(self, tokens: Sequence[Token]) -> list[Answer | None]:
        """For each that was not begun, and now never will be, or is over: what became of it; None for one that runs."""
        return [self._taken_back(token) for token in tokens]

    def _taken_back(self, token: Token) -> Answer | None:
        if token in self._running:
            return None
        if token in self._kept:
            return self._kept[token]
        if token in self._waiting:
            del self._waiting[token]
        else:
            self._recalled[token] = None
        return NOT_STARTED

    async def stop(self, token: Token) -> bool:
        """Stop one job that runs, and no other; a worker that runs one at a time cannot."""
        running = self._running.get(token)
        if running is None or self._habits.concurrency == 1:
            return False
        running.cancel()
        return True

    async def holding(self) -> list[Token]:
        """The attempts that are not settled; what was not begun never will be."""
        self._waiting.clear()
        return [*self._kept, *self._running]

    async def answer_of(self, token: Token, patience_s: float) -> Answer | None:
        return self._kept[token] if await self._within(lambda: token not in self._running, patience_s) else None

    async def wait_idle(self, patience_s: float) -> bool | None:
        """None if a job runs for longer than its timeout allows."""
        idle = await self._within(lambda: not self._running, patience_s)
        return idle if idle or min(self._until.values(), default=math.inf) > asyncio.get_running_loop().time() else None

    async def _within(self, holds: Callable[[], bool], patience_s: float) -> bool:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(holds), patience_s)
            except asyncio.TimeoutError:
                return False
            return True

    async def _act(self, attempt: Attempt) -> Answer:
        token, script = attempt.token, script_of(attempt)
        self._history.note("start", job=token.job_id, token=token, worker=self.id, epoch=self._epoch, node=self._process.node,
                           script=script)
        word, _, argument = script.partition(" ")
        ran_s = float(argument) if word == "sleep" else 0.001
        if word == "sleep":
            self._publish(token)
        await asyncio.sleep(ran_s)
        answer = Answer(self._habits.result, ran_s=ran_s)
        match word:
            case "hang":
                await asyncio.Event().wait()
            case "raise":
                answer = Answer(None, Failure("exception", "ValueError", "as scripted"), self._habits.spoils)
            case "leave":
                answer = Answer(None, Failure("exit", "SystemExit", "as scripted", exit_code=4), self._habits.spoils)
            case "exit":
                self._die(token, Failure("exit", "WorkerExited", "as scripted", exit_code=int(argument)))
            case "signal":
                self._die(token, Failure("signal", "WorkerKilled", "as scripted", signal=int(argument)))
            case "memory":
                self._die(token, Failure("out_of_memory", "OutOfMemoryError", "as scripted"))
        if answer.failure is not None and answer.spoilt:
            self._history.note("spoilt", worker=self.id, epoch=self._epoch)
        kind = "ok" if answer.failure is None else answer.failure.kind
        self._history.note("end", job=token.job_id, token=token, worker=self.id, how=kind)
        return answer

    def _publish(self, token: Token) -> None:
        """Tell the queue of progress, without waiting for it: the number of the attempt, so that an old one can be told."""
        self._telling = asyncio.ensure_future(self._tell(token.job_id, token.attempt, token.incarnation, token.attempt))

    def _die(self, token: Token, failure: Failure) -> None:
        self.end = failure
        self._history.note("end", job=token.job_id, token=token, worker=self.id, how=failure.kind)
        self._process.exit()
