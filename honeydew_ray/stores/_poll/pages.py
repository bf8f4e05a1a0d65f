"""The jobs of a table, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.stores._poll.rows import RowJobs, state_of
from honeydew_ray.stores._poll.sql import RowStatements, Standing
from honeydew_ray.stores.base import Page, Query

STALE = None
"""Stands where a state would, for rows whose lease ran out."""

_STATES: tuple[JobState | None, ...] = (JobState.PENDING, STALE, JobState.DELAYED, JobState.IN_PROGRESS, JobState.ABANDONED)
_KEYS_AT_ONCE = 500

Walk = Iterator[tuple[Any, JobRecord]]
"""Jobs, each with the cursor to what comes after it."""


class Pages:
    """Walks through what a query asks for.

    A cursor holds the time of the first page: a row is seen in the state that it was in then, so that one that falls due
    meanwhile is neither missed nor seen twice.
    """

    def __init__(self, sql: RowStatements, rows: RowJobs, query: Query, where: Any) -> None:
        self._sql = sql
        self._rows = rows
        self._query = query
        self._where = where
        self._states = (STALE,) if query.stale else _STATES if query.state is None else (query.state,)

    def page(self, connection: sa.Connection, cursor: Any, limit: int) -> Page:
        """The jobs after a cursor, up to a limit."""
        now_us: int = self._sql.time(connection) if cursor is None else cursor[0]
        found: list[JobRecord] = []
        last: Any = None
        walk = self._by_state(connection, now_us, cursor, limit) if self._query.ids is None else self._by_id(connection, now_us, cursor)
        for place, job in walk:
            if self._query.method is not None and job.method != self._query.method:
                continue
            if len(found) == limit:
                return Page(found, last)
            found.append(job)
            last = place
        return Page(found)

    def _by_state(self, connection: sa.Connection, now_us: int, cursor: Any, limit: int) -> Walk:
        first, after = (0, None) if cursor is None else cursor[1:]
        for number, state in enumerate(self._states[first:], first):
            while rows := self._sql.band_page(connection, state, now_us, after, limit + 1, self._where):
                for standing, place in rows:
                    after = place
                    yield (now_us, number, place), self._rows.job(standing, now_us)
                if len(rows) <= limit:
                    break
            after = None

    def _by_id(self, connection: sa.Connection, now_us: int, cursor: Any) -> Walk:
        keys = list(dict.fromkeys(key for key in map(self._rows.key_of, self._query.ids or ()) if key is not None))
        for start in range(0 if cursor is None else cursor[1], len(keys), _KEYS_AT_ONCE):
            chunk = keys[start:start + _KEYS_AT_ONCE]
            standings = {standing.key: standing for standing in self._sql.look(connection, chunk, self._where)}
            for number, key in enumerate(chunk, start + 1):
                standing = standings.get(key)
                if standing is not None and _band(standing, now_us) in self._states:
                    yield (now_us, number), self._rows.job(standing, now_us)


def _band(standing: Standing, now_us: int) -> JobState | None:
    return STALE if -now_us <= (standing.lock or 0) < 0 else state_of(standing, now_us)
