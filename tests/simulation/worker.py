"""A simulated worker's process: what `WorkerActor` does, with jobs that act out a script."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
    """What became of an attempt: a result, a failure, or neither if it had been recalled."""

    result: Payload | None = None
    failure: Failure | None = None
    spoilt: bool = False


class Habits(NamedTuple):
    """How the workers of a run behave."""

    result: Payload
    init_fails: int = 0  # how often making the state raises before it works
    spoils: bool = True


class SimWorker:
    """One process that runs one job at a time; `init` and `run` share its main thread, the rest answers meanwhile.

    Keeps each answer until the queue says that it is settled, and never begins what was recalled.
    """

    def __init__(self, worker_id: str, process: Process, history: History, habits: Habits) -> None:
        self.id = worker_id
        self.begun: Token | None = None  # the last one begun and not ended: the black box, to be read after a death
        self.end: Failure | None = None  # how the process ended, if it says so
        self._process = process
        self._history = history
        self._habits = habits
        self._main = asyncio.Lock()
        self._epoch = self._attempted = 0
        self._inits_to_fail = habits.init_fails
        self._kept: dict[Token, Answer] = {}
        self._recalled: set[Token] = set()
        self._changed = asyncio.Condition()
        self._watcher = asyncio.Event()

    async def who_am_i(self) -> WhoAmI:
        return WhoAmI(self._process.node, self._epoch, self._attempted)

    async def init(self, epoch: int) -> str | None:
        """Make the state anew: None if it worked, else the error."""
        async with self._main:
            self._attempted, self._epoch = epoch, 0
            await asyncio.sleep(0.02)
            if self._inits_to_fail > 0:
                self._inits_to_fail -= 1
                return "RuntimeError: not yet"
            self._epoch = epoch
            self._history.note("init", worker=self.id, epoch=epoch)
            return None

    async def run(self, attempt: Attempt, settled: Sequence[Token]) -> Answer:
        """Run a job; the answer is kept until it is settled."""
        self._history.note("received", worker=self.id, job=attempt.token.job_id, token=attempt.token)
        async with self._main:
            for token in settled:
                self._kept.pop(token, None)
            if attempt.token in self._recalled:
                self._recalled.discard(attempt.token)
                self._history.note("recalled", worker=self.id, job=attempt.token.job_id, token=attempt.token)
                return Answer()
            self.begun = attempt.token
            answer = await self._act(attempt)
            self.begun = None
            self._kept[attempt.token] = answer
            async with self._changed:
                self._changed.notify_all()
            return answer

    async def watch(self) -> None:
        """Answers only when somebody else watches; the call that is pending hears of the process's death."""
        self._watcher.set()
        self._watcher = mine = asyncio.Event()
        await mine.wait()

    async def recall(self, token: Token) -> bool:
        """Take an attempt back: True if it was not begun, and now never will be."""
        if token == self.begun or token in self._kept:
            return False
        self._recalled.add(token)
        return True

    async def holding(self) -> list[Token]:
        """The attempts that are not settled."""
        return [*self._kept, *([] if self.begun is None else [self.begun])]

    async def answer_of(self, token: Token, patience_s: float) -> Answer | None:
        return self._kept[token] if await self._until(lambda: self.begun != token, patience_s) else None

    async def wait_idle(self, patience_s: float) -> bool:
        return await self._until(lambda: self.begun is None, patience_s)

    async def _until(self, holds, patience_s: float) -> bool:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(holds), patience_s)
            except asyncio.TimeoutError:
                return False
            return True

    async def _act(self, attempt: Attempt) -> Answer:
        token, script = attempt.token, script_of(attempt)
        self._history.note("start", job=token.job_id, token=token, worker=self.id, epoch=self._epoch, node=self._process.node, script=script)
        word, _, argument = script.partition(" ")
        await asyncio.sleep(float(argument) if word == "sleep" else 0.001)
        answer = Answer(self._habits.result)
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

    def _die(self, token: Token, failure: Failure) -> None:
        self.end = failure
        self._history.note("end", job=token.job_id, token=token, worker=self.id, how=failure.kind)
        self._process.exit()
