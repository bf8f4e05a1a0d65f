"""An event loop whose time passes only when nothing else is left to do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""The wall-clock time at which every virtual run begins."""


class _TimeSkipper(selectors.BaseSelector):
    """Instead of waiting for the next timer, moves the loop's clock to it.

    Real input is still looked at, without waiting: the loop's own wake-up pipe is among it.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._real.select(0)
        if not events:
            if timeout is None:
                raise DeadlockError("nothing is left to do, no timer is set, and the run has not ended")
            self.now += max(timeout, 0.0)
        return events

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Any:
        return self._real.get_map()


class DeadlockError(RuntimeError):
    """Under virtual time every task waits for another: the run can never end."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs timers in order of their time without waiting: an hour's sleep takes microseconds.

    With no threads and no real input, a run is the same every time.
    """

    def __init__(self) -> None:
        self._skipper = _TimeSkipper()
        super().__init__(self._skipper)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._skipper.now


class VirtualClock:
    """The wall clock of the virtual loop: `EPOCH` plus the loop's time, plus what it was set ahead."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        return EPOCH + self.offset + asyncio.get_running_loop().time()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; timers of the loop are not affected."""
        self.offset += seconds


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end under virtual time, and cancel what it leaves running.

    Raises what it raises, or else what a task or a timer raised that nobody waited for.
    """
    with_loop = VirtualTimeLoop()
    unheard: list[BaseException] = []
    with_loop.set_exception_handler(lambda _, context: unheard.append(context.get("exception") or RuntimeError(context["message"])))
    try:
        value = with_loop.run_until_complete(work)
        if unheard:
            raise unheard[0]
        return value
    finally:
        with_loop.set_exception_handler(lambda _, context: None)
        left = asyncio.all_tasks(with_loop)
        for task in left:
            task.cancel()
        if left:
            with_loop.run_until_complete(asyncio.wait(left))
        with_loop.close()


async def settle() -> None:
    """Return when no task can go on without time passing."""
    await asyncio.sleep(1e-6)
