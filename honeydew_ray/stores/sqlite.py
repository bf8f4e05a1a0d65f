"""A store in a SQLite file: its jobs outlive everything but the disk."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from honeydew_ray import lifecycle
from honeydew_ray.arguments import expect_count, expect_seconds, refuse, refuse_type
from honeydew_ray.errors import HoneydewError, StoreError
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState
from honeydew_ray.stores import _rows
from honeydew_ray.stores._file import Changes, JobFile
from honeydew_ray.stores._image import Image, demand_enqueued, demand_put_back
from honeydew_ray.stores._journal import Journal, Unit
from honeydew_ray.stores.base import Counts, Opened, Page, Query, Reserved, Store

_PAGE_BYTES = 64 * 2**20  # a page without ids ends early rather than load more than this


class SQLiteStore(Store):
    """Keeps jobs in one SQLite file, and in memory an image of it in the order of the line.

    Every change is committed, with SQLite's strictest setting for power loss, before a call returns;
    a thread of its own does that, and commits all that waits at once. One file holds one queue: one
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
        self._settling: dict[Any, Unit] = {}  # by token, or by id if cancelled: in the image, and not committed yet
        self._journal: Journal | None = None

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self._path)!r}, max_abandoned={self._max_abandoned}, abandoned_ttl_s={self._abandoned_ttl_s:g})"

    def existing(self) -> SQLiteStore:
        return SQLiteStore(self._path, max_abandoned=self._max_abandoned, abandoned_ttl_s=self._abandoned_ttl_s, create=False)

    async def open(self, queue: str) -> Opened:
        path = Path(os.path.realpath(self._path))  # here and not before: links may differ from node to node
        journal = Journal(partial(JobFile, path, queue, self._create))
        await journal.start()
        try:
            openings, suspended, loaded = await journal.look(lambda file: (file.openings(), file.suspended(), list(file.load())))
        except BaseException:
            await journal.stop()
            raise
        self._journal = journal
        self._rows.update((job.id, row) for row, job in loaded)
        self._last_row = max((row for row, _ in loaded), default=0)
        self._last_change = len(loaded)
        self._image.incarnation = f"{openings}-{uuid.uuid4().hex[:8]}"  # a copy of the file may have as many openings
        self._image.restore(job for _, job in loaded)
        held = [job for _, job in loaded if job.state is JobState.IN_PROGRESS]
        return Opened(self._image.incarnation, suspended, await self._whole(held))

    async def enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        demand_enqueued(jobs)
        for unit in {unit for job in jobs if (unit := self._arriving.get(job.id)) is not None}:
            await self._over(unit)
        new = {job.id: job for job in reversed(jobs) if job.id not in self._image}
        ...

    async def close(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            with self._explained("write the last changes"):
                await journal.stop()
