"""A store in a SQLite file: its jobs outlive everything but the disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

from honeydew_ray import lifecycle
from honeydew_ray.arguments import expect_count, expect_seconds, refuse, refuse_type
from honeydew_ray.clock import Clock, SystemClock
from honeydew_ray.errors import StoreError
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState
from honeydew_ray.stores import _rows
from honeydew_ray.stores._file import Changes, JobFile
from honeydew_ray.stores._image import Image, demand_enqueued, demand_put_back
from honeydew_ray.stores._journal import Journal, Unit
from honeydew_ray.stores._rows import LeftOut
from honeydew_ray.stores.base import Counts, Opened, Page, Query, Reserved, Store

_ENDED_TTL_S = 600.0
_MAX_ENDED = 10_000
_FORGET_EVERY = 1000
_PAGE_BYTES = 64 * 2**20  # a page ends early once it has more than this to load


class SQLiteStore(Store):
    """Keeps jobs in one SQLite file, and in memory an image of it in the order of the line.

    Every change is committed, with SQLite's strictest setting for power loss, before a call returns;
    a thread of its own does that, and commits all that waits at once. Only the claim of a job is not
    waited for: it is committed within some milliseconds, and if the process dies before, the job is
    found waiting, and its redelivery is not counted. One file holds one queue: one
    lock and one writer each, and damage or a full disk is the trouble of one queue alone.

    ``path`` is a file on a local disk of the node that the queue runs on; if it is missing it is
    made, in mode 0600, unless ``create`` is False. It holds pickles: who can write it can run code in the
    queue. Large arguments stay in the file until they are needed. Abandoned jobs are kept until
    there are more than ``max_abandoned`` or one is older than ``abandoned_ttl_s`` seconds.

    Raises `StoreError` or a kind of it, at opening (see `StoreInUse` and `StoreDamaged`) or when the
    disk is full or fails. Then nothing was enqueued; any other change is kept in memory and
    written as soon as that is possible, and no job is reserved until it is.
    """

    durable: ClassVar[bool] = True
    overlapping: ClassVar[bool] = True
    node_local: bool = True

    def __init__(self, path: str | os.PathLike[str], *, max_abandoned: int = 10_000, abandoned_ttl_s: float = 30 * 86_400,
                 create: bool = True) -> None:
        self._path = _expect_path(path)
        self._max_abandoned = expect_count("SQLiteStore", "max_abandoned", max_abandoned)
        self._abandoned_ttl_s = expect_seconds("SQLiteStore", "abandoned_ttl_s", abandoned_ttl_s)
        self._create = create
        self._changes: dict[JobId, JobRecord | None] = {}  # in the image, and not yet handed to the journal
        self._image = Image(self._max_abandoned, self._abandoned_ttl_s, self._changes)
        self._rows: dict[JobId, int] = {}  # where each job that the image holds is in the file
        self._last_row = 0
        self._last_change = 0
        self._arriving: dict[JobId, Unit] = {}  # being enqueued, so not in the image yet
        self._settling: dict[tuple[str, Any], None] = {}  # (ack or nack, token), (cancel, id): in the image, and not committed yet
        self._ends_kept = 0  # since old ones were last forgotten
        self._journal: Journal | None = None
        self._clock: Clock = SystemClock()

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self._path)!r}, max_abandoned={self._max_abandoned}, abandoned_ttl_s={self._abandoned_ttl_s:g})"

    def existing(self) -> SQLiteStore:
        """The same store, which must be there: it refuses to open if its file is missing."""
        return SQLiteStore(self._path, max_abandoned=self._max_abandoned, abandoned_ttl_s=self._abandoned_ttl_s, create=False)

    async def open(self, queue: str) -> Opened:
        journal = self._new_journal(partial(JobFile, self._path, queue, self._create))
        await journal.start()
        try:
            openings, suspended, loaded = await journal.look(lambda file: (file.openings(), file.suspended(), list(file.load())))
            self._last_change = await journal.look(JobFile.last_change)
            ended = await journal.look(lambda file: file.ended(_MAX_ENDED))
        except BaseException:
            await journal.stop()
            raise
        self._journal = journal
        self._rows.update((job.id, row) for row, job in loaded)
        self._last_row = max((row for row, _ in loaded), default=0)
        self._image.incarnation = f"{openings}-{uuid.uuid4().hex[:8]}"  # a copy of the file may have as many openings
        self._image.restore(job for _, job in loaded)
        held = [job for _, job in loaded if job.state is JobState.IN_PROGRESS]
        over = [job for job in ended if job.id not in self._image]  # others have come back since
        return Opened(self._image.incarnation, suspended, await self._whole(held), over)

    async def enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        demand_enqueued(jobs)
        self._opened()
        while (under_way := next((self._arriving[job.id] for job in jobs if job.id in self._arriving), None)) is not None:
            await self._over(under_way)  # and look again: another call may have waited for the same
        new = self._placed(jobs)
        if new:
            await self._land(self._arrival(new))
        return _once_each(jobs, {job.id for job in new})

    async def reserve(self, n: int, now: float, only: JobId | None = None, abandoned: bool = False) -> Reserved:
        journal = self._opened()
        if journal.trouble is not None:  # what is decided now could not be kept either
            raise StoreError(f"{self._path}: no job is reserved while changes cannot be written: {journal.trouble}") from journal.trouble
        reserved = self._image.reserve(n, now, only, abandoned)
        # Not awaited: a crash before this is committed leaves the job waiting, which is what it was. Whoever ran the attempt
        # meanwhile carries a token of an incarnation that is over, so its answer counts only if the queue takes it over.
        if self._changes:
            journal.write_soon(self._changed("reserve"))
        try:
            return Reserved(await self._whole(reserved.jobs), reserved.next_due)
        except BaseException:
            for job in reserved.jobs:
                self._image.nack(lifecycle.gave_back(job, now))
            journal.write_soon(self._changed("nack"))
            raise

    async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        ended = [job for job in jobs if self._image.holds(job)]
        return await self._settle("ack", jobs, self._image.ack, ended)

    async def nack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        demand_put_back(jobs)
        for job in jobs:
            _rows.changing(0, job)  # a note that cannot be stored is refused before anything has changed
        return await self._settle("nack", jobs, lambda job: self._image.nack(_rows.slim(job)))

    async def cancel(self, job_id: JobId) -> CancelOutcome:
        waiting = self._image.find(job_id)
        outcome = self._image.cancel(job_id)
        key = ("cancel", job_id)
        if outcome is CancelOutcome.CANCELLED or (outcome is CancelOutcome.NOT_FOUND and key in self._settling):
            unit = self._changed("cancel", [key])
            if outcome is CancelOutcome.CANCELLED and waiting is not None:  # else a late try to enqueue it would bring it back
                self._keep_ends(unit.changes, [lifecycle.cancelled(waiting, self._clock.now())])
            await self._land(unit)
            return CancelOutcome.CANCELLED
        return outcome

    async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        found: list[JobRecord] = []
        last: Any = None
        following: Any = None
        to_load = 0
        for place, job in self._image.walk(query, cursor, limit):
            if len(found) == limit or to_load > _PAGE_BYTES:
                following = last
                break
            found.append(job)
            last = place
            to_load += job.payload.nbytes if query.payloads and isinstance(job.payload, LeftOut) else 0
        return Page(await self._whole(found) if query.payloads else found, following)

    async def counts(self) -> Counts:
        return self._image.counts()

    async def remember_suspended(self, suspended: bool) -> None:
        await self._land(Unit(Changes({"suspend"}, suspended=suspended), must_land=True))

    async def close(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            with self._explained("write the last changes"):
                await journal.stop()

    # -- what is written

    def _placed(self, jobs: Sequence[JobRecord]) -> list[JobRecord]:
        """Those of these jobs that are new, each id once, with their places in line."""
        new: dict[JobId, JobRecord] = {}
        for job in jobs:
            if job.id not in self._image and job.id not in new:
                new[job.id] = job
        return [self._image.placed(job) for job in new.values()]

    def _arrival(self, jobs: list[JobRecord]) -> Unit:
        """New jobs are written first, and come into the image when they are committed."""
        rows = [(job, self._next_row()) for job in jobs]
        inserts = [_rows.new_row(row, self._next_change(), job) for job, row in rows]

        def settled(committed: bool) -> None:  # called even if whoever enqueued them has left: one id must not be written twice
            for job, row in rows:
                del self._arriving[job.id]
                if committed:
                    self._rows[job.id] = row
                    self._image.add(_rows.slim(job))
                    self._changes.pop(job.id, None)  # it is in the file

        unit = Unit(Changes({"enq"}, inserts), must_land=False, settled=settled)
        self._arriving.update((job.id, unit) for job in jobs)
        return unit

    async def _settle(self, step: str, jobs: Sequence[JobRecord], apply: Callable[[JobRecord], bool],
                      ended: Sequence[JobRecord] = ()) -> Sequence[bool]:
        """Change the image, and return when that is committed. Asked again after a failure, wait for what is still to land."""
        keys = [(step, job.token) for job in jobs]
        held = [apply(job) or key in self._settling for job, key in zip(jobs, keys, strict=True)]
        if any(held):
            unit = self._changed(step, [key for key, was_held in zip(keys, held, strict=True) if was_held])
            self._keep_ends(unit.changes, ended)
            await self._land(unit)
        return held

    def _keep_ends(self, changes: Changes, ended: Sequence[JobRecord]) -> None:
        changes.ended += map(_rows.ended_row, ended)
        self._ends_kept += len(ended)
        if self._ends_kept >= _FORGET_EVERY and ended:
            self._ends_kept = 0
            changes.forget_ended_before = (ended[-1].completed_at or 0.0) - _ENDED_TTL_S

    def _changed(self, step: str, settling: Iterable[Any] = ()) -> Unit:
        """What has changed in the image since this was last asked."""
        changes = Changes({step})
        for job_id, job in self._changes.items():
            if job is None:
                changes.deletes.append(self._rows.pop(job_id))
            else:
                changes.updates[self._rows[job_id]] = _rows.changing(self._next_change(), job)
        self._changes.clear()
        keys = list(settling)

        def settled(committed: bool) -> None:
            for key in keys if committed else ():
                self._settling.pop(key, None)

        self._settling.update(dict.fromkeys(keys))
        return Unit(changes, must_land=True, settled=settled)

    async def _land(self, unit: Unit) -> None:
        with self._explained("write a change"):
            await self._opened().wait(unit)

    async def _over(self, unit: Unit) -> None:
        """Wait until an enqueue under way has come to its end, good or bad."""
        if unit.done is not None:
            await asyncio.wait([unit.done])

    async def _whole(self, jobs: Sequence[JobRecord]) -> list[JobRecord]:
        """The jobs with the payloads that are in the file only."""
        rows = {job.id: self._rows[job.id] for job in jobs if isinstance(job.payload, LeftOut)}
        if not rows:
            return list(jobs)
        with self._explained("read large arguments"):
            payloads = await self._opened().look(lambda file: file.payloads(list(rows.values())))
        loaded = dict(zip(rows, payloads, strict=True))
        return [_rows.with_payload(job, loaded[job.id]) if job.id in loaded else job for job in jobs]

    def _new_journal(self, open_file: Callable[[], JobFile]) -> Journal:
        """Who writes the file: a thread, or in a simulation a task under virtual time."""
        return Journal(open_file)

    def _opened(self) -> Journal:
        if self._journal is None:
            raise StoreError(f"{self._path} is not open")
        return self._journal

    def _next_row(self) -> int:
        self._last_row += 1
        return self._last_row

    def _next_change(self) -> int:
        self._last_change += 1
        return self._last_change

    @contextmanager
    def _explained(self, what: str) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path}: could not {what}: {error}. Free space or mend the disk: it is tried again") from error


def _once_each(jobs: Sequence[JobRecord], new: set[JobId]) -> list[bool]:
    """True for the first of each new id."""
    left = set(new)
    answers: list[bool] = []
    for job in jobs:
        answers.append(job.id in left)
        left.discard(job.id)
    return answers


def _expect_path(path: object) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise refuse_type("SQLiteStore", "path", path, "the path of a file", 'SQLiteStore("photos.db")')
    text: object = os.fspath(cast("os.PathLike[Any]", path))
    if not isinstance(text, str) or not text or text == ":memory:" or "\0" in text:
        raise refuse("SQLiteStore", "path", text, "the path of a file", 'SQLiteStore("photos.db")')
    return Path(os.path.abspath(os.path.expanduser(text)))  # the queue's process may have another working directory
