"""The real `SQLiteStore` on a disk that can crash: its writing thread is a task under virtual time."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from honeydew_ray.stores._file import JobFile
from honeydew_ray.stores._journal import _RETRY_S, Journal
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing.virtual_time import VirtualClock

_MEMORY_DISK = Path("/dev/shm")


class _Line:
    """Takes the place of the queue between the event loop and the writing thread."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.something = asyncio.Event()

    def put(self, item: Any) -> None:
        self.items.append(item)
        self.something.set()

    async def take(self, patience_s: float | None) -> None:
        """Return when something waits, or ``patience_s`` is over."""
        self.something.clear()
        if not self.items:
            try:
                await asyncio.wait_for(self.something.wait(), patience_s)
            except asyncio.TimeoutError:
                return


class SteppedJournal(Journal):
    """Writes in a task: all of a transaction is one step, and that it is done is told in another."""

    def __init__(self, open_file: Callable[[], JobFile], disk: Disk) -> None:
        super().__init__(open_file)
        self._disk = disk
        self._line: Any = _Line()

    def _begin(self) -> None:
        self._work = asyncio.ensure_future(self._write_all())

    def _join(self) -> None:
        pass  # it has nothing left to do

    async def _write_all(self) -> None:
        try:
            file = self._open_file()
        except Exception as error:
            self._opened.set_exception(error)
            return
        self._disk.connections.append(file._connection)
        self._opened.set_result(None)
        batch: list[Any] = [None]
        while self._handle(file, [item for item in batch if item is not None]):
            await self._line.take(_RETRY_S if self._backlog else None)
            await asyncio.sleep(self._disk.latency_s)
            batch, self._line.items = self._line.items, []


class SimSQLiteStore(SQLiteStore):
    """Differs from its base in who writes the file."""

    def __init__(self, path: Path, disk: Disk, create: bool) -> None:
        super().__init__(path, create=create)
        self._disk = disk
        self._clock = VirtualClock()

    def _new_journal(self, open_file: Callable[[], JobFile]) -> Journal:
        return SteppedJournal(open_file, self._disk)


class Disk:
    """Keeps one queue's file through crashes of its process: each new process finds what the last one had committed."""

    def __init__(self) -> None:
        self.latency_s = 0.002
        self.connections: list[sqlite3.Connection] = []
        self._folder = Path(tempfile.mkdtemp(prefix="honeydew-simulation-", dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else None))
        self._lives = 0

    def store(self) -> SimSQLiteStore:
        """The store of the queue's next process."""
        return SimSQLiteStore(self._life() / "jobs.db", self, create=self._lives == 0)

    def crash(self) -> None:
        """The process is gone: what it had open is left behind, and what lies on the disk is found by the next."""
        left = self._life()
        self._lives += 1
        for file in sorted(left.glob("jobs.db*")):
            if file.name in ("jobs.db", "jobs.db-wal"):
                shutil.copy(file, self._life() / file.name)

    def remove(self) -> None:
        for connection in self.connections:
            connection.close()
        shutil.rmtree(self._folder)

    def _life(self) -> Path:
        life = self._folder / str(self._lives)
        life.mkdir(exist_ok=True)
        return life
