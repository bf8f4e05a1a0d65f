"""The worker of the hammer: it does as each job says, and writes down that it did."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import os
import random
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import numpy  # noqa: F401, here: a job's first array would take the time of importing it after the job has begun
import ray

import honeydew_ray as honeydew
from tests.hammer.recorder import Recorder

ENDINGS = ("ok", "raise", "flaky", "exit", "kill")


class Turnstile:
    """Tells whether a job runs in another process at this moment: the kernel drops a dead process's locks, and no living one's."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def enter(self, uid: str) -> bool:
        """Whether nobody else is in there."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number_of(uid))
        except OSError:
            return False
        return True

    def leave(self, uid: str) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number_of(uid))


def number_of(uid: str) -> int:
    """A number for each job: ``driver-number``."""
    driver, number = uid.split("-")
    return int(driver) * 1_000_000 + int(number)


@functools.cache
def _tools(folder: Path) -> tuple[Recorder, Turnstile]:
    """One of each for the life of a process, however often its state is made anew: closing a file would drop its locks."""
    return Recorder(folder / "events", "worker"), Turnstile(folder / "turnstile")


class Plant:
    """Runs jobs of all sorts."""

    def __init__(self, folder: str, queue: str) -> None:
        self._recorder, self._turnstile = _tools(Path(folder))
        self._queue = queue
        self._node = ray.get_runtime_context().get_node_id()

    def work(self, uid: str, seconds: float, ending: str, ballast: Any = None) -> dict[str, Any]:
        """Take so long, then end so; the result names this run, and brings the ballast back."""
        run = self._begin(uid, seconds)
        time.sleep(seconds)
        self._end(uid, run, ending)
        return {"run": run, "ballast": ballast}

    def run(self, uid: str) -> dict[str, Any]:
        """A row: it says no more than its key."""
        chance = random.Random(uid)
        [ending] = chance.choices(ENDINGS, [80, 5, 12, 1, 1])
        return self.work(uid, chance.choice([0.0, 0.005, 0.02, 0.1]), ending)

    def _begin(self, uid: str, seconds: float) -> str:
        run = uuid.uuid4().hex[:16]
        alone = self._turnstile.enter(uid)
        self._recorder.note("start", uid=uid, run=run, queue=self._queue, pid=os.getpid(), node=self._node, alone=alone)
        if seconds > 0.2:
            honeydew.progress(run)
        return run

    def _end(self, uid: str, run: str, ending: str) -> None:
        good = ending == "ok" or (ending == "flaky" and random.random() < 0.5)
        self._recorder.note("end", run=run, ok=good, dies=ending in ("exit", "kill"))
        if ending == "exit":
            os._exit(3)
        if ending == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()
        self._turnstile.leave(uid)
        if not good:
            raise ValueError(f"run {run} fails on purpose")


class Choir(Plant):
    """Runs several jobs at once."""

    async def work(self, uid: str, seconds: float, ending: str, ballast: Any = None) -> dict[str, Any]:  # type: ignore[override]
        run = self._begin(uid, seconds)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:  # it took too long, or was called off
            self._recorder.note("end", run=run, ok=False)
            self._turnstile.leave(uid)
            raise
        self._end(uid, run, ending)
        return {"run": run, "ballast": ballast}
