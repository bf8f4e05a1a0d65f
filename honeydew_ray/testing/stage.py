"""Where inline queues live: an event loop under virtual time, and the user's code that waits for its turn outside it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from honeydew_ray.testing.virtual_time import EPOCH, DeadlockError, VirtualTimeLoop

T = TypeVar("T")
_SETTLE_S = 1e-6


class StageClock:
    """The wall clock of a stage: `EPOCH` plus the time that passed on it. Implements `Clock`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Seconds since the epoch."""
        return EPOCH + self._loop.time()


@dataclass(slots=True, eq=False)
class Turn:
    """A call of the user's code that is due, and is made when somebody drives the stage."""

    function: Callable[[], Any]
    is_job: bool
    made: asyncio.Future[Any]


class Stage:
    """Runs what decides on a loop under virtual time, and the user's code between two runs of the loop, in whatever thread drives it.

    So the user's code may use asyncio and the queues themselves. Invariant: virtual time passes only
    while no call of the user's code is due.
    """

    def __init__(self) -> None:
        self._loop = VirtualTimeLoop()
        self._loop.set_exception_handler(self._hear)
        self.clock = StageClock(self._loop)
        self._line: deque[Turn] = deque()
        self._arrived: asyncio.Event | None = None
        self._unheard: list[BaseException] = []
        self._lock = threading.RLock()
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- from the loop ---------------------------------------------------------------------------

    async def turn(self, function: Callable[[], T], is_job: bool) -> T:
        """Have a function called outside the loop, when its turn comes; its value. It must not raise."""
        turn = Turn(function, is_job, asyncio.get_running_loop().create_future())
        self._line.append(turn)
        if self._arrived is not None:
            self._arrived.set()
        try:
            return await turn.made
        finally:
            if turn in self._line:  # called off before its turn came
                self._line.remove(turn)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the loop."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- from outside ------------------------------------------------------------------------------

    def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; its value. What is due is done meanwhile, and only then does time pass.

        Raises what it raises, and `DeadlockError` if it would wait for ever.
        """
        task = self._loop.create_task(work)
        while True:
            turn = self._next_turn(task)
            if turn is None:
                return task.result()
            self._make(turn)

    def step(self, jobs: bool = True) -> bool:
        """Make the next call of the user's code that is due now, after the makings of states before it; whether there was a job.

        With ``jobs=False`` make states only.
        """
        while True:
            with self._lock:
                self._settle()
                turn = next((turn for turn in self._line if jobs or not turn.is_job), None)
                if turn is None:
                    return False
                self._line.remove(turn)
            self._make(turn)
            if turn.is_job:
                self.settle()
                return True

    def settle(self) -> None:
        """Run the loop until nothing more happens without time passing."""
        with self._lock:
            self._settle()

    def close(self) -> None:
        """End all that runs."""
        with self._lock:
            if self._loop.is_closed():
                return
            self._loop.set_exception_handler(_ignore)
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._run(asyncio.wait(left))
            self._loop.close()

    def _next_turn(self, task: asyncio.Task[Any]) -> Turn | None:
        """The next call that is due before the task is done; time passes until there is one. None: the task is done."""
        with self._lock:
            self._settle(task)
            while not task.done() and not self._line:
                try:
                    self._run(self._until_something(task))
                except DeadlockError:
                    task.cancel()
                    self._run(asyncio.wait([task]))
                    raise
                self._raise_unheard()
            return None if task.done() else self._line.popleft()

    async def _until_something(self, task: asyncio.Task[Any]) -> None:
        self._arrived = asyncio.Event()
        arrived = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait([task, arrived], return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
            self._arrived = None

    def _settle(self, task: asyncio.Task[Any] | None = None) -> None:
        if task is None or not task.done():
            self._run(asyncio.sleep(_SETTLE_S))
        self._raise_unheard()

    def _make(self, turn: Turn) -> None:
        value = turn.function()
        with self._lock:
            if not turn.made.done():
                turn.made.set_result(value)

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run the loop; in a thread of its own, if this one runs another."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._loop.run_until_complete(work)
            return
        faults: list[BaseException] = []

        def run() -> None:
            try:
                self._loop.run_until_complete(work)
            except BaseException as fault:
                faults.append(fault)

        thread = threading.Thread(target=run, name="honeydew-inline")
        thread.start()
        thread.join()
        if faults:
            raise faults[0]

    def _hear(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._unheard.append(context.get("exception") or RuntimeError(context["message"]))

    def _raise_unheard(self) -> None:
        """What a task of ours raised that nobody waits for must not go unseen in a test."""
        if self._unheard:
            raise self._unheard.pop(0)


def _ignore(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What is cut off at the end has nothing to say."""
