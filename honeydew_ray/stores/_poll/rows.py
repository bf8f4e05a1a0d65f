"""The rows of a user's table as jobs: which table, which columns, which key, which task."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from honeydew_ray.arguments import refuse, refuse_type
from honeydew_ray.errors import StoreError
from honeydew_ray.job import JobId, JobRecord, JobState
from honeydew_ray.payload import HeldBuffer, Payload, dumps_call
from honeydew_ray.stores import _expressions
from honeydew_ray.stores._poll.columns import (
    ABANDONED,
    index_name,
    lock_name,
    migration,
    private_name,
    queue_columns,
)
from honeydew_ray.stores._poll.sql import Key, Standing
from honeydew_ray.stores._poll.state import read
from honeydew_ray.task import Task, task_of

TaskOfRow = Callable[[Any, str], Any]
"""From a row's key and the queue's name to a task, or a tuple of a task and its arguments."""


def expect_table(table: object) -> sa.Table:
    """A table by itself - names, types and key - of a ``Table`` or a mapped class; it can be sent to another process."""
    given: Any = getattr(table, "__table__", table)
    if not _is_table(given):
        raise refuse_type("PollStore", "table", table, "a sqlalchemy.Table or a mapped class", "PollStore(url, Photo)")
    if not given.primary_key.columns:
        raise refuse("PollStore", "table", given.name, "a table with a primary key, which names a job", "PollStore(url, Photo)")
    columns: list[Any] = [sa.Column(column.name, column.type, primary_key=column.primary_key) for column in given.columns]
    return sa.Table(given.name, sa.MetaData(), *columns, schema=given.schema)


def expect_condition(run_if: object, table: sa.Table) -> Any:
    """A condition over this table that can be sent to another process; None if none was given."""
    if run_if is None:
        return None
    if not _expressions.is_expression(run_if):
        raise refuse_type("PollStore", "run_if", run_if, "an expression of SQLAlchemy, or text() for SQL of your own",
                          'run_if=Photo.size > 0, or run_if=text("size > 0")')
    condition = _expressions.plain(run_if)
    _expressions.bound(condition, table)  # a column that is not there is refused here
    return condition


def with_queue_columns(table: sa.Table, queue: str) -> sa.Table:
    """The table, with the queue's two columns whatever the caller's ``Table`` said of them."""
    names = {lock_name(queue), private_name(queue)}
    columns: list[Any] = [sa.Column(column.name, column.type, primary_key=column.primary_key)
                          for column in table.columns if column.name not in names]
    return sa.Table(table.name, sa.MetaData(), *columns, *queue_columns(queue), schema=table.schema)


def check_columns(connection: sa.Connection, table: sa.Table, queue: str) -> list[str]:
    """Look whether the database has what the queue needs; what it could do without, and has not, as warnings.

    Raises `StoreError` for what it needs, with the migration to run.
    """
    inspector = sa.inspect(connection)
    full = connection.dialect.identifier_preparer.format_table(table)
    if not inspector.has_table(table.name, schema=table.schema):
        raise StoreError(f"the database has no table {full}, or this role may not see it; create it first")
    found: Mapping[str, Any] = {column["name"]: column for column in inspector.get_columns(table.name, schema=table.schema)}
    missing = [column.name for column in table.primary_key.columns if column.name not in found]
    if missing:
        raise StoreError(f"table {full} has no column {missing[0]!r}, which the given table calls part of its key")
    run = f"To make it one, run:\n{migration(table, queue, connection.dialect)}"
    wanted: dict[str, tuple[type[Any], str]] = {lock_name(queue): (sa.Integer, "BIGINT"), private_name(queue): (sa.String, "TEXT")}
    for name, (kind, text) in wanted.items():
        if name not in found:
            raise StoreError(f"table {full} is not queue {queue!r} yet: it has no column {name!r}. {run}")
        actual = found[name]["type"]
        if not isinstance(actual, kind) or _is_too_small(actual, connection.dialect.name):
            raise StoreError(f"column {name!r} of table {full} is of type {actual}, expected {text}; drop it and add it anew. {run}")
    warnings: list[str] = []
    if found[lock_name(queue)].get("default") is None:
        warnings.append(f"column {lock_name(queue)!r} of table {full} has no default, so inserting a row does not enqueue its job")
    if not any(index["column_names"][:1] == [lock_name(queue)] for index in inspector.get_indexes(table.name, schema=table.schema)):
        warnings.append(f"table {full} has no index that begins with {lock_name(queue)!r}, so each poll reads the whole table; "
                        f"the migration makes {index_name(table.name, queue)!r}")
    return warnings


class RowJobs:
    """Makes jobs of rows, for one queue."""

    def __init__(self, table: sa.Table, queue: str, task: TaskOfRow | None, timeout_s: float | None) -> None:
        self._columns: list[Any] = list(table.primary_key.columns)
        self._queue = queue
        self._task = task
        self._timeout_s = timeout_s

    def id_of(self, key: Key) -> JobId:
        """What names the job of a row: its key, a tuple only if it has several columns."""
        return key[0] if len(key) == 1 else key

    def key_of(self, job_id: JobId) -> Key | None:
        """The key that a job's id means; None if no row can have it."""
        several = len(self._columns) > 1 and type(job_id) in (tuple, list)
        key: Key = (*job_id,) if several else (job_id,)
        if len(key) != len(self._columns):
            return None
        return key if all(_fits(column.type, value) for column, value in zip(self._columns, key, strict=True)) else None

    def work(self, job_id: JobId) -> tuple[Task, Payload]:
        """What is to be done about a row. Raises what the queue's ``task`` raises, or `TypeError` if it returns no task."""
        given: Any = "run" if self._task is None else self._task(job_id, self._queue)
        task, args = _parts(given, job_id)
        if not isinstance(task, str) and not callable(task):
            raise TypeError(f"task({job_id!r}, {self._queue!r}) returned {given!r}, expected a method's name, a function, or a tuple that "
                            'begins with one and goes on with its arguments; for example ("classify", key)')
        known = task_of(task)
        data, large = dumps_call(known.function, args, {}, f"the arguments of {known.name!r}")
        buffers = tuple(HeldBuffer(bytes(buffer.raw())) for buffer in large)
        return known, Payload(data, buffers)

    def job(self, standing: Standing, now_us: int) -> JobRecord:
        """The job of a row as it stands; without a task if that cannot be told."""
        job_id = self.id_of(standing.key)
        try:
            task, payload = self.work(job_id)
        except Exception:  # it shows when the job is to be run
            task, payload = Task(""), Payload(dumps_call(None, (), {}, "no arguments")[0])
        return self.with_task(standing, state_of(standing, now_us), task, payload)

    def with_task(self, standing: Standing, state: JobState, task: Task, payload: Payload) -> JobRecord:
        """The job of a row, in this state, with this task."""
        lock = standing.lock or 0
        due_us = lock if 0 < lock < ABANDONED else 0
        blank = JobRecord(self.id_of(standing.key), self._queue, task.name, payload, task.function is not None, timeout_s=self._timeout_s,
                          due_at=due_us / 1e6)
        return read(standing.private).job(blank, state)


def _is_table(given: object) -> bool:
    return isinstance(given, sa.Table)


def _parts(given: Any, job_id: JobId) -> tuple[Any, tuple[Any, ...]]:
    """A task and its arguments; by itself it has the row's key."""
    several = type(given) in (tuple,) and len(given) > 0
    return (given[0], given[1:]) if several else (given, (job_id,))


def state_of(standing: Standing, now_us: int) -> JobState:
    """Where a row is; one whose lease ran out waits."""
    lock = standing.lock or 0
    if lock == ABANDONED:
        return JobState.ABANDONED
    if lock < -now_us:
        return JobState.IN_PROGRESS
    return JobState.DELAYED if lock > now_us else JobState.PENDING


def _fits(column_type: Any, value: object) -> bool:
    """Whether a column can hold a value; a database may answer one of another type with an error."""
    try:
        kind: type[Any] = column_type.python_type
    except NotImplementedError:
        return True
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and -2**63 <= value < 2**63
    if kind is float:
        return isinstance(value, (int, float))
    return isinstance(value, kind) or (issubclass(kind, enum.Enum) and isinstance(value, str))


def _is_too_small(column_type: Any, dialect: str) -> bool:
    """SQLite's integers are all of 64 bits; elsewhere INTEGER has 32, which hold no time in microseconds."""
    return isinstance(column_type, sa.Integer) and not isinstance(column_type, sa.BigInteger) and dialect != "sqlite"
