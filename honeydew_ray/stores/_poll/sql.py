"""The statements of a poll queue, for one table and one queue's columns.

What the lock column holds: NULL, done with; 0, ready; a time, waiting until then (in microseconds since the
epoch, by the database's clock); minus a time, reserved until then; `ABANDONED`. So one range, from minus now to now, has all
that can be claimed: ready rows, those that fell due, and those whose lease ran out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from honeydew_ray.job import JobState
from honeydew_ray.stores._poll.columns import ABANDONED, lock_name, private_name
from honeydew_ray.stores._poll.state import Claim, fence, opening

Key = tuple[Any, ...]


class DatabaseNow(FunctionElement[int]):
    """Now by the database's clock, in microseconds since the epoch; the same all through one statement."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(DatabaseNow)
def _now(*_: Any, **__: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT)"


@compiles(DatabaseNow, "sqlite")
def _now_sqlite(*_: Any, **__: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)"


@compiles(DatabaseNow, "mysql")
@compiles(DatabaseNow, "mariadb")
def _now_mysql(*_: Any, **__: Any) -> str:
    return "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"


class Standing(NamedTuple):
    """A row as the columns of the queue describe it."""

    key: Key
    lock: int | None
    private: object


class Change(NamedTuple):
    """What an attempt under this claim leaves of a row: the new values of the two columns."""

    key: Key
    claim_id: str
    lock: int | None = None
    private: str | None = None


class RowStatements:
    """Each method is one step on one connection; each that changes a reserved row asks for the claim it was reserved under."""

    def __init__(self, table: sa.Table, queue: str, run_if: Any, lease_us: int, now: Any) -> None:
        self.table = table
        self.keys: list[Any] = list(table.primary_key.columns)
        self.lock: Any = table.c[lock_name(queue)]
        self.private: Any = table.c[private_name(queue)]
        self._run_if = run_if
        self._lease_us = lease_us
        self.now = now

    # -- reserving -----------------------------------------------------------------------------

    def claimable(self, n: int, fallen_due_first: bool = False) -> Any:
        """The query for the rows that go next, locked, without waiting for those that others have locked."""
        least = 1 if fallen_due_first else -self.now
        query = sa.select(*self.keys).where(self.lock.between(least, self.now))
        if self._run_if is not None:
            query = query.where(self._run_if)
        return query.order_by(self.lock, *self.keys).limit(n).with_for_update(skip_locked=True, of=self.table)

    def claim(self, connection: sa.Connection, claim: Claim, n: int, fallen_due_first: bool = False) -> list[Standing]:
        """Reserve up to n rows in one statement."""
        chosen: Any = self.claimable(n, fallen_due_first).cte("chosen").prefix_with("MATERIALIZED", dialect="postgresql")
        return self._reserve(connection, claim, self._among(sa.select(*chosen.c)))

    def claim_in_steps(self, connection: sa.Connection, claim: Claim, n: int, fallen_due_first: bool = False) -> list[Standing]:
        """The same in one transaction, for databases whose UPDATE returns nothing."""
        keys: Any = [tuple(row) for row in connection.execute(self.claimable(n, fallen_due_first))]
        if not keys:
            return []
        rows = connection.execute(self._select().where(self._among(keys))).all()
        connection.execute(sa.update(self.table).where(self._among(keys)).values(self._reserved(claim)))
        return [self._standing(row)._replace(private=f"{opening(claim)}{row[-1] or 'null'}]") for row in rows]

    def claim_only(self, connection: sa.Connection, claim: Claim, key: Key, abandoned: bool) -> list[Standing]:
        """Reserve one row, if it waits, due or not; or if it is abandoned."""
        standing = self.lock == ABANDONED if abandoned else self._waits()
        if connection.dialect.update_returning:
            return self._reserve(connection, claim, self._is(key), standing)
        found = connection.execute(self._select().where(self._is(key), standing).with_for_update()).all()
        connection.execute(sa.update(self.table).where(self._is(key), standing).values(self._reserved(claim)))
        return [self._standing(row)._replace(private=f"{opening(claim)}{row[-1] or 'null'}]") for row in found]

    def next_due_us(self, connection: sa.Connection) -> int | None:
        """Microseconds until the first row that waits for its time."""
        waits = self.lock > self.now
        return connection.execute(sa.select(sa.func.min(self.lock) - self.now).where(waits, self.lock < ABANDONED)).scalar()

    def time(self, connection: sa.Connection) -> int:
        """Now by the database's clock, in microseconds."""
        return connection.execute(sa.select(self.now)).scalar_one()

    # -- what becomes of reserved rows -----------------------------------------------------------

    def finish(self, connection: sa.Connection, claim_id: str, keys: Sequence[Key]) -> set[Key]:
        """Rows of one claim are done with; those that were still under it."""
        return self._under(connection, claim_id, keys, {self.lock: None, self.private: None})

    def renew(self, connection: sa.Connection, claim_id: str, keys: Sequence[Key]) -> set[Key]:
        """Rows of one claim are reserved for longer; those that were still under it.

        A row that its application has locked is passed over, until the next time: the others must not wait for it.
        """
        fence = sa.and_(self._among(list(keys)), *self._fence(claim_id))
        free: Any = sa.select(*self.keys).where(fence).with_for_update(skip_locked=True, of=self.table)
        unlocked = [tuple(row) for row in connection.execute(free)]
        held = {tuple(row) for row in connection.execute(sa.select(*self.keys).where(fence))}
        if unlocked:
            statement = sa.update(self.table).where(self._among(unlocked), *self._fence(claim_id))
            connection.execute(statement.values({self.lock: -(self.now + self._lease_us)}))
        return held

    def change(self, connection: sa.Connection, change: Change) -> bool:
        """A row goes back; False if it was no longer under its claim."""
        statement = sa.update(self.table).where(self._is(change.key), *self._fence(change.claim_id))
        return connection.execute(statement.values({self.lock: change.lock, self.private: change.private})).rowcount > 0

    # -- rows that are not reserved ----------------------------------------------------------------

    def enqueue(self, connection: sa.Connection, key: Key, lock: int, private: str) -> bool | None:
        """A row that is done with waits again; False if it is in the queue, None if there is no such row."""
        statement = sa.update(self.table).where(self._is(key), self.lock.is_(None)).values({self.lock: lock, self.private: private})
        if connection.execute(statement).rowcount > 0:
            return True
        return None if connection.execute(sa.select(*self.keys).where(self._is(key))).first() is None else False

    def cancel(self, connection: sa.Connection, key: Key) -> bool:
        """Take a row that waits out of the queue."""
        statement = sa.update(self.table).where(self._is(key), self._waits())
        return connection.execute(statement.values({self.lock: None, self.private: None})).rowcount > 0

    def look(self, connection: sa.Connection, keys: Sequence[Key], where: Any = None) -> list[Standing]:
        """These rows, as far as they are in the queue."""
        query = self._select().where(self._among(list(keys)), self.lock.is_not(None))
        rows = connection.execute(query if where is None else query.where(where))
        return [self._standing(row) for row in rows]

    def owned(self, connection: sa.Connection, owner: str) -> list[Standing]:
        """The rows that are reserved under any claim of this owner."""
        start = f'["{owner}:'
        rows = connection.execute(self._select().where(self.lock < 0, sa.func.substr(self.private, 1, len(start)) == start))
        return [self._standing(row) for row in rows]

    def counts(self, connection: sa.Connection) -> list[int]:
        """How many rows are ready, wait for their time, are reserved, stale and abandoned."""
        bands = (self.lock.between(0, self.now), self._delayed(), self.lock < -self.now, self.lock.between(-self.now, -1),
                 self.lock == ABANDONED)
        cases = [sa.func.sum(sa.case((condition, 1), else_=0)) for condition in bands]
        return [int(number or 0) for number in connection.execute(sa.select(*cases).where(self.lock.is_not(None))).one()]

    def band(self, state: JobState | None, now_us: int) -> tuple[Any, list[Any]]:
        """The condition that a state is at a time, and the order in which its rows are shown; None: stale."""
        by_key = self.keys
        match state:
            case JobState.PENDING:
                return self.lock.between(0, now_us), [self.lock, *by_key]
            case JobState.DELAYED:
                return sa.and_(self.lock > now_us, self.lock < ABANDONED), [self.lock, *by_key]
            case JobState.IN_PROGRESS:  # a lease that is renewed moves in the order of locks
                return self.lock < -now_us, by_key
            case JobState.ABANDONED:
                return self.lock == ABANDONED, by_key
            case None:
                return self.lock.between(-now_us, -1), by_key
            case _:
                return sa.false(), by_key

    def band_page(self, connection: sa.Connection, state: JobState | None, now_us: int, after: Sequence[Any] | None, limit: int,
                  where: Any) -> list[tuple[Standing, list[Any]]]:
        """Some rows of a state after a place in its order, each with its own place."""
        condition, order = self.band(state, now_us)
        query = self._select().add_columns(*(column.label(f"place_{number}") for number, column in enumerate(order))).where(condition)
        if where is not None:
            query = query.where(where)
        if after is not None:
            places = [sa.literal(value, column.type) for value, column in zip(after, order, strict=True)]
            query = query.where(sa.tuple_(*order) > sa.tuple_(*places) if len(order) > 1 else order[0] > places[0])
        rows = connection.execute(query.order_by(*order).limit(limit)).all()
        return [(self._standing(row[:-len(order)]), list(row[-len(order):])) for row in rows]

    # ----------------------------------------------------------------------------------------------

    def _select(self) -> Any:
        return sa.select(*self.keys, self.lock, self.private)

    def _reserve(self, connection: sa.Connection, claim: Claim, *conditions: Any) -> list[Standing]:
        changed = sa.update(self.table).where(*conditions).values(self._reserved(claim))
        return [self._standing(row) for row in _returned(connection, changed, [*self.keys, self.lock, self.private])]

    def _reserved(self, claim: Claim) -> dict[Any, Any]:
        before = sa.func.coalesce(self.private, sa.literal("null", sa.Text()))
        return {self.lock: -(self.now + self._lease_us),
                self.private: sa.literal(opening(claim), sa.Text()).concat(before).concat(sa.literal("]", sa.Text()))}

    def _under(self, connection: sa.Connection, claim_id: str, keys: Sequence[Key], values: dict[Any, Any]) -> set[Key]:
        if connection.dialect.update_returning:
            statement = sa.update(self.table).where(self._among(list(keys)), *self._fence(claim_id)).values(values)
            return {tuple(row) for row in _returned(connection, statement, self.keys)}
        statements = ((key, sa.update(self.table).where(self._is(key), *self._fence(claim_id)).values(values)) for key in keys)
        return {key for key, statement in statements if connection.execute(statement).rowcount > 0}

    def _fence(self, claim_id: str) -> tuple[Any, Any]:
        start = fence(claim_id)
        return self.lock < 0, sa.func.substr(self.private, 1, len(start)) == start

    def _waits(self) -> Any:
        return sa.and_(self.lock >= -self.now, self.lock < ABANDONED)

    def _delayed(self) -> Any:
        return sa.and_(self.lock > self.now, self.lock < ABANDONED)

    def _is(self, key: Key) -> Any:
        return sa.and_(*(column == value for column, value in zip(self.keys, key, strict=True)))

    def _among(self, keys: Any) -> Any:
        """That a row is one of these: a list of keys, or a query for them."""
        if len(self.keys) > 1:
            return sa.tuple_(*self.keys).in_(keys)
        return self.keys[0].in_([key[0] for key in cast("list[Key]", keys)] if isinstance(keys, list) else keys)

    def _standing(self, row: Any) -> Standing:
        return Standing(tuple(row[:len(self.keys)]), row[-2], row[-1])


def _returned(connection: sa.Connection, changed: Any, columns: list[Any]) -> list[Any]:
    """What an UPDATE changed."""
    statement: Any = changed.returning(*columns)
    rows: Any = connection.execute(statement)
    return list(rows)
