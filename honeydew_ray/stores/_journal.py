"""The one thread that writes a queue's file: it takes all that waits and commits it in one transaction."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from honeydew_ray import failpoints
from honeydew_ray.stores._file import Changes, JobFile

T = TypeVar("T")

_RETRY_S = 1.0
_SOON_S = 0.005
_PACE_S = 0.002


@dataclass(eq=False, slots=True)
class Unit:
    """Changes that happen together, for one call of the store.

    ``must_land`` says that they have happened already, in memory: if they cannot be written now,
    they are kept and written before anything later. ``settled`` is told, before whoever waits hears
    of it, whether they are committed; of what must land it may be told again.
    """

    changes: Changes
    must_land: bool
    settled: Callable[[bool], None] | None = None
    done: asyncio.Future[None] | None = None  # None: nobody waits


@dataclass(eq=False, slots=True)
class _Look:
    """Something to be done with the file between two transactions."""

    work: Callable[[JobFile], Any]
    done: asyncio.Future[Any]
    last: bool = False  # the thread ends with it


class Journal:
    """Hands the event loop's changes to the writing thread, and its answers back; the loop never waits for the disk.

    Invariant: what must land is committed in the order in which it was handed over, and nothing
    that came later is committed before it.
    """

    def __init__(self, open_file: Callable[[], JobFile]) -> None:
        self.trouble: Exception | None = None  # why what must land has not landed yet
        self._loop = asyncio.get_running_loop()
        self._line: queue.SimpleQueue[Unit | _Look] = queue.SimpleQueue()
        self._open_file = open_file
        self._soon: list[Unit] = []  # to be handed over with the next
        self._alarm: asyncio.TimerHandle | None = None
        self._committed_at = 0.0
        self._backlog: list[Unit] = []  # what must land and could not be written
        self._failure: Exception | None = None  # why; the writing thread's own copy of ``trouble``
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="honeydew-journal", daemon=True)

    async def start(self) -> None:
        """Open the file. Raises what that raises."""
        self._begin()
        await self._opened

    async def look(self, work: Callable[[JobFile], T]) -> T:
        """Run this in the writing thread, soon: before what waits there is written."""
        done: asyncio.Future[T] = self._loop.create_future()
        self._line.put(_Look(work, done))
        return await done

    def write_soon(self, unit: Unit) -> None:
        """Have it written with whatever is handed over next, or after a while; a commit of its own would delay others'."""
        self._soon.append(unit)
        if self._alarm is None:
            self._alarm = self._loop.call_later(_SOON_S, self._hand_over)

    async def wait(self, unit: Unit) -> None:
        """Hand it over, and return when it is committed; raise if it could not be."""
        unit.done = self._loop.create_future()
        unit.done.add_done_callback(_heard)
        self._hand_over()
        self._line.put(unit)
        await asyncio.shield(unit.done)  # whoever waits may leave; those who come later wait for it too

    async def stop(self) -> None:
        """Write what waits, close the file, end the thread. Raises if something could not be written."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._hand_over()
        self._line.put(_Look(self._close, done, last=True))
        try:
            await done
        finally:
            self._join()

    def _begin(self) -> None:
        """Let the writing begin; what stands below under "in the writing thread" may run anywhere, as long as it is in one place."""
        self._thread.start()

    def _join(self) -> None:
        self._thread.join()  # it has only to return

    def _hand_over(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for unit in self._soon:
            self._line.put(unit)
        self._soon.clear()

    # -- in the writing thread

    def _run(self) -> None:
        try:
            file = self._open_file()
        except Exception as error:
            self._tell(_answer, self._opened, None, error)
            return
        self._tell(_answer, self._opened, None, None)
        while self._handle(file, self._take()):
            pass

    def _handle(self, file: JobFile, batch: list[Unit | _Look]) -> bool:
        """Do what a batch asks for; False if there is to be no other."""
        looks = [item for item in batch if isinstance(item, _Look)]
        for look in looks:
            if not look.last:
                self._do(look, file)
        units = [item for item in batch if isinstance(item, Unit)]
        if units or self._backlog:
            self._write(file, units)
        for look in looks:
            if look.last:
                self._do(look, file)
                return False
        return True

    def _take(self) -> list[Unit | _Look]:
        """Everything that waits; if something is to be tried again, nothing after a while."""
        batch: list[Unit | _Look] = []
        try:
            batch.append(self._line.get(timeout=_RETRY_S if self._backlog else None))
            self._pace()
            while True:
                batch.append(self._line.get_nowait())
        except queue.Empty:
            return batch

    def _pace(self) -> None:
        """Under load, let a few changes gather: a commit costs much the same for one as for many."""
        early_s = self._committed_at + _PACE_S - time.monotonic()
        if early_s > 0:
            time.sleep(early_s)

    def _do(self, look: _Look, file: JobFile) -> None:
        try:
            value, error = look.work(file), None
        except Exception as raised:
            value, error = None, raised
        self._tell(_answer, look.done, value, error)

    def _write(self, file: JobFile, units: list[Unit]) -> None:
        """In one transaction; if that fails, what must land in one, and each of the rest in one of its own.

        What must land never needs what is being enqueued with it: it concerns jobs that are held already.
        """
        musts = self._backlog + [unit for unit in units if unit.must_land]
        others = [unit for unit in units if not unit.must_land]
        self._backlog = []
        committed, error = _attempt(file, musts + others)
        self._committed_at = time.monotonic()
        if committed or len(musts) + len(others) == 1 or isinstance(error, failpoints.FailpointHit):
            self._settle(musts, committed, error)
            self._settle(others, committed, error)
            return
        committed, error = _attempt(file, musts) if musts else (True, None)
        self._settle(musts, committed, error)
        for unit in others:
            self._settle([unit], *(_attempt(file, [unit]) if committed else (False, error)))

    def _settle(self, units: list[Unit], committed: bool, error: Exception | None) -> None:
        if not units:
            return
        if units[0].must_land:
            self._backlog, self._failure = ([], None) if committed else (units, error)
        self._tell(self._settled, units, committed, error)

    def _close(self, file: JobFile) -> None:
        file.close()
        if self._failure is not None:
            raise self._failure

    def _tell(self, report: Callable[..., None], *facts: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(report, *facts)
        except RuntimeError:
            if not self._loop.is_closed():  # closed: nobody is left to be told
                raise

    # -- in the event loop

    def _settled(self, units: list[Unit], committed: bool, error: Exception | None) -> None:
        if units[0].must_land:
            self.trouble = None if committed else error
        for unit in units:
            if unit.settled is not None:
                unit.settled(committed)
            if unit.done is not None:
                _answer(unit.done, None, error)


def _attempt(file: JobFile, units: list[Unit]) -> tuple[bool, Exception | None]:
    """Whether they were committed, and what went wrong before or after."""
    together = Changes()
    for unit in units:
        together.add(unit.changes)
    try:
        file.write(together)
    except Exception as error:
        return False, error
    try:
        for step in sorted(together.steps - {"nack"}):
            failpoints.hit(f"{step}.post_commit")
    except Exception as error:
        return True, error
    return True, None


def _heard(future: asyncio.Future[None]) -> None:
    """The error of a unit is no surprise, even if whoever waited for it has left."""
    if not future.cancelled():
        future.exception()


def _answer(future: asyncio.Future[T], value: Any, error: Exception | None) -> None:
    if future.done():  # whoever waited has left
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
