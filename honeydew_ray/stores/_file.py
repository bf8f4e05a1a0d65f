"""A queue's SQLite file, open; used by one thread."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from honeydew_ray import failpoints
from honeydew_ray.errors import StoreDamaged
from honeydew_ray.job import JobRecord
from honeydew_ray.payload import Payload
from honeydew_ray.stores import _opening, _rows
from honeydew_ray.stores._rows import CHANGING, COLUMNS, ENDED, NewRow, Values

_T = TypeVar("_T")

_ROWS_AT_ONCE = 256  # a statement for many rows, since between two statements the thread may have to wait for the interpreter

_INSERT_ENDED = f"INSERT INTO ended ({', '.join(ENDED)}) VALUES ({','.join('?' * len(ENDED))})"
_UPDATE = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in CHANGING)} WHERE row = ?"


@dataclass(slots=True)
class Changes:
    """What one transaction, or a part of it, does to the file."""

    steps: set[str] = field(default_factory=set[str])  # what the queue calls them: enq, ack, nack; the failpoints know them so
    inserts: list[NewRow] = field(default_factory=list[NewRow])
    updates: dict[int, Values] = field(default_factory=dict[int, Values])  # by row
    deletes: list[int] = field(default_factory=list[int])
    ended: list[Values] = field(default_factory=list[Values])
    forget_ended_before: float | None = None
    suspended: bool | None = None

    def add(self, later: Changes) -> None:
        """These, and then the later ones."""
        self.steps |= later.steps
        self.inserts += later.inserts
        self.updates.update(later.updates)
        self.deletes += later.deletes
        self.ended += later.ended
        self.forget_ended_before = later.forget_ended_before or self.forget_ended_before
        self.suspended = self.suspended if later.suspended is None else later.suspended


class JobFile:
    """The open file. Raises what SQLite raises; a change that raises has not happened."""

    def __init__(self, path: Path, queue: str, create: bool) -> None:
        self.path = Path(os.path.realpath(path))  # the log lies beside the file itself, not beside a link to it
        self.commits = 0
        self._queue = queue
        self._connection = _opening.open_file(self.path, queue, create)
        self._identity = self._seen()

    def openings(self) -> int:
        """How often the file was opened, this time included."""
        return int(self._connection.execute("SELECT openings FROM queue").fetchone()[0])

    def last_change(self) -> int:
        """The number of the latest change of a job that is here."""
        return int(self._connection.execute("SELECT coalesce(max(changed), 0) FROM jobs").fetchone()[0])

    def suspended(self) -> bool:
        """The flag as last remembered."""
        return bool(self._connection.execute("SELECT suspended FROM queue").fetchone()[0])

    def load(self) -> Iterator[tuple[int, JobRecord]]:
        """Every job with its row, in the order of their last changes; that they can be loaded was checked at the opening."""
        for row, *values in self._connection.execute(f"{_rows.SELECT_JOBS} ORDER BY changed"):
            yield row, _rows.load_job(self._queue, values)

    def ended(self, limit: int) -> list[JobRecord]:
        """The jobs that ended last, oldest first."""
        rows = self._connection.execute(f"{_rows.SELECT_ENDED} ORDER BY number DESC LIMIT ?", [limit]).fetchall()
        return [_rows.load_ended(self._queue, row) for row in reversed(rows)]

    def payloads(self, rows: Sequence[int]) -> list[Payload]:
        """The large payloads of these rows."""
        return [self._payload(row) for row in rows]

    def write(self, changes: Changes) -> None:
        """Make these changes in one transaction, all or none. Commits before it returns."""
        inserts = [_rows.whole_row(new) for new in changes.inserts]
        if self._seen() != self._identity:
            raise StoreDamaged(f"{self.path} or its {self.path.name}-wal was removed or replaced while the queue had it open: nothing "
                               "can be kept any more. Put them back, or stop the queue")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._apply(changes)
            self._insert(inserts)
            for step in sorted(changes.steps):
                failpoints.hit("nack.pre" if step == "nack" else f"{step}.pre_commit")
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.commits += 1

    def limit(self, pages: int) -> None:
        """Let the file grow to this many pages and no more."""
        self._connection.execute(f"PRAGMA max_page_count={pages}")

    def close(self) -> None:
        """Let go of the file; it needs no log beside it then. Raises if that could not be brought about, and lets go of it all the same."""
        _opening.close_file(self.path, self._connection)

    def _apply(self, changes: Changes) -> None:
        gone = set(changes.deletes)
        updates = [(*values, row) for row, values in changes.updates.items() if row not in gone]
        if updates:
            self._connection.executemany(_UPDATE, updates)
        for rows in _chunks(changes.deletes):
            numbers = ",".join(map(str, rows))
            self._connection.execute(f"DELETE FROM jobs WHERE row IN ({numbers})")
            self._connection.execute(f"DELETE FROM buffers WHERE row IN ({numbers})")
        if changes.ended:
            self._connection.executemany(_INSERT_ENDED, changes.ended)
        if changes.forget_ended_before is not None:
            self._connection.execute("DELETE FROM ended WHERE completed_at < ?", [changes.forget_ended_before])
        if changes.suspended is not None:
            self._connection.execute("UPDATE queue SET suspended = ?", [changes.suspended])

    def _insert(self, inserts: list[tuple[Values, list[memoryview]]]) -> None:
        place = f"({','.join('?' * len(COLUMNS))})"
        for chunk in _chunks(inserts):
            flat = [value for values, _ in chunk for value in values]
            self._connection.execute(f"INSERT INTO jobs VALUES {','.join([place] * len(chunk))}", flat)
        for values, buffers in inserts:
            for number, buffer in enumerate(buffers):
                self._connection.execute("INSERT INTO buffers VALUES (?, ?, ?)", [values[len(CHANGING)], number, buffer])

    def _payload(self, row: int) -> Payload:
        stored = self._connection.execute("SELECT id, method, crc, data FROM jobs WHERE row = ?", [row]).fetchone()
        if stored is None:
            raise StoreDamaged(f"{self.path} has lost row {row} of its jobs while the queue had it open")
        buffers = self._connection.execute("SELECT data FROM buffers WHERE row = ? ORDER BY number", [row])
        stored_id, method, crc, data = stored
        return _rows.load_payload(stored_id, method, crc, data, (buffer for buffer, in buffers))

    def _seen(self) -> tuple[object, ...]:
        """Which files go by our names now."""
        try:
            return tuple((status.st_dev, status.st_ino) for status in map(os.stat, (self.path, _opening.wal_of(self.path))))
        except FileNotFoundError:
            return ()


def _chunks(items: list[_T]) -> Iterable[list[_T]]:
    return (items[start : start + _ROWS_AT_ONCE] for start in range(0, len(items), _ROWS_AT_ONCE))
