"""The two columns that make a table a queue, their index, and the trigger that tells of new rows."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from honeydew_ray.arguments import expect_name, refuse, refuse_type

MAX_IDENTIFIER = 63
"""Bytes in a name, for PostgreSQL; longer ones would be cut off there in silence."""

FINISHED = None
READY = 0
ABANDONED = 2**63 - 1
"""What the lock column holds, apart from times in microseconds since the epoch: due then, or, negative, leased until then."""

_MAX_NAME = MAX_IDENTIFIER - len("honeydew__private")


def expect_columns_name(where: str, name: object) -> str:
    """A queue's name, short enough to be part of a column's."""
    text = expect_name(where, "queue_name", name)
    if len(text) > _MAX_NAME:
        raise refuse(where, "queue_name", text, f"at most {_MAX_NAME} characters, as it becomes part of a column's name",
                     'PollStore(..., columns="photos")')
    return text


def lock_name(queue: str) -> str:
    """The column that says where a row stands."""
    return f"honeydew_{queue}_lock"


def private_name(queue: str) -> str:
    """The column for what a queue must remember of a row, as JSON."""
    return f"honeydew_{queue}_private"


def index_name(table: str, queue: str) -> str:
    """The index that polls use."""
    name = f"ix_{table}_honeydew_{queue}"
    if len(name.encode()) <= MAX_IDENTIFIER:
        return name
    return f"ix_{re.sub('[^A-Za-z0-9_]', '_', table)[:30]}_{_digest(name)}"


def channel_name(table: str, queue: str) -> str:
    """The channel on which PostgreSQL tells of new rows."""
    return f"honeydew_{_digest(f'{table} {queue}')}"


def add_queue_columns(table: sa.Table, queue_name: str, *, notify: bool = True) -> None:
    """Add to a SQLAlchemy ``Table`` the two columns of a queue, with server defaults, and the index that polls use.

    From then on inserting a row, by any program, enqueues its job in the same transaction. With
    ``notify``, creating the table on PostgreSQL installs a trigger too, so that queues hear of new rows at once. A
    table may be several queues: call this once for each. Raises `ValueError` if the columns are there or the table has no primary key.
    """
    if not isinstance(table, sa.Table):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refuse_type("add_queue_columns", "table", table, "a sqlalchemy.Table", 'add_queue_columns(Photo.__table__, "photos")')
    queue = expect_columns_name("add_queue_columns", queue_name)
    lock, private = lock_name(queue), private_name(queue)
    known = {column.name.casefold() for column in table.columns}
    for name in (lock, private):
        if name.casefold() in known:
            raise ValueError(f"add_queue_columns: table {table.name!r} has a column {name!r} already")
    keys = list(table.primary_key.columns)
    if not keys:
        raise ValueError(f"add_queue_columns: table {table.name!r} has no primary key, which names a job; add one")
    for column in queue_columns(queue):
        table.append_column(column)
    waiting: Any = table.c[lock].is_not(None)
    sa.Index(index_name(table.name, queue), table.c[lock], *keys, postgresql_where=waiting, sqlite_where=waiting)
    if notify:

        def install(target: Any, connection: Any, **_: Any) -> None:
            if connection.dialect.name == "postgresql":
                for statement in trigger_statements(table, queue, connection.dialect):
                    connection.execute(as_text(statement))

        event.listen(table, "after_create", install)


def queue_columns(queue: str) -> list[sa.Column[Any]]:
    """The two columns, made anew."""
    return [sa.Column(lock_name(queue), sa.BigInteger(), server_default=sa.text(str(READY)), nullable=True),
            sa.Column(private_name(queue), sa.Text(), nullable=True)]


def queue_mixin(*queue_names: str) -> type[Any]:
    """A mixin that makes the table of a mapped class a queue, or several: ``class Photo(queue_mixin("photos"), Base)``.

    It comes before the declarative base, and does what `add_queue_columns` does.
    """
    names = [expect_columns_name("queue_mixin", name) for name in queue_names]
    if not names:
        raise refuse("queue_mixin", "queue_names", names, "the names of one or more queues", 'queue_mixin("photos")')

    class QueueColumns:
        """The columns of a queue."""

        @classmethod
        def __table_cls__(cls, name: str, metadata: Any, *args: Any, **options: Any) -> sa.Table:
            table = sa.Table(name, metadata, *args, **options)
            if not any("__table__" in vars(base) for base in cls.__mro__[1:]):  # a subclass with a table of its own shares its parent's row
                for queue in names:
                    add_queue_columns(table, queue)
            return table

    return QueueColumns


def trigger_statements(table: sa.Table, queue: str, dialect: Any) -> list[str]:
    """What installs the trigger, for PostgreSQL: it tells of rows that are inserted, or made ready by hand; not of what queues do."""
    quote, (target, function) = partial(_quoted, dialect), _targets(table, dialect)
    inserted, readied = trigger_names(table.name, queue)
    lock, call = quote(lock_name(queue)), f"EXECUTE FUNCTION {function}('{channel_name(table.name, queue)}')"
    return [
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_notify(TG_ARGV[0], ''); RETURN NULL; END $$",
        f"CREATE OR REPLACE TRIGGER {quote(inserted)} AFTER INSERT ON {target} FOR EACH STATEMENT {call}",
        f"CREATE OR REPLACE TRIGGER {quote(readied)} AFTER UPDATE OF {lock} ON {target} FOR EACH ROW "
        f"WHEN (NEW.{lock} = {READY} AND (OLD.{lock} IS NULL OR OLD.{lock} > {READY})) {call}",
    ]


def trigger_names(table: str, queue: str) -> tuple[str, str]:
    """The triggers' own names."""
    name = channel_name(table, queue)
    return f"{name}_in", f"{name}_up"


def drop_statements(table: sa.Table, queue: str, dialect: Any) -> list[str]:
    """What removes the trigger; its function may serve other tables, and stays."""
    target, _ = _targets(table, dialect)
    quote = partial(_quoted, dialect)
    return [f"DROP TRIGGER IF EXISTS {quote(name)} ON {target}" for name in trigger_names(table.name, queue)]


def as_text(statement: str) -> sa.TextClause:
    """A statement as it stands: a colon in a name is no parameter."""
    return sa.text(statement.replace("\\", "\\\\").replace(":", "\\:"))


def _quoted(dialect: Any, name: str) -> str:
    """A name as it stands in SQL; some dialects double a percent sign for their driver, which `as_text` leaves to SQLAlchemy."""
    return dialect.identifier_preparer.quote(name).replace("%%", "%")


def migration(table: sa.Table, queue: str, dialect: Any) -> str:
    """What a person has to run to make the table a queue."""
    quote, (target, _) = partial(_quoted, dialect), _targets(table, dialect)
    lock, private = quote(lock_name(queue)), quote(private_name(queue))
    keys = ", ".join(quote(column.name) for column in table.primary_key.columns)
    only = f" WHERE {lock} IS NOT NULL" if dialect.name in ("postgresql", "sqlite") else ""
    schema = f", schema={table.schema!r}" if table.schema else ""
    return (
        f"    ALTER TABLE {target} ADD COLUMN {lock} BIGINT DEFAULT {READY};\n"
        f"    ALTER TABLE {target} ADD COLUMN {private} TEXT;\n"
        f"    CREATE INDEX {quote(index_name(table.name, queue))} ON {target} ({lock}, {keys}){only};\n"
        f"or, in a migration of Alembic, after `import honeydew_ray.migrations`:\n"
        f"    op.add_queue_columns({table.name!r}, {queue!r}{schema})\n"
        f"Every row that is there is then enqueued; to enqueue new rows only, set {lock} to NULL in the others."
    )


def _targets(table: sa.Table, dialect: Any) -> tuple[str, str]:
    preparer = dialect.identifier_preparer
    function = "honeydew_notify" if table.schema is None else f"{preparer.quote_schema(table.schema)}.honeydew_notify"
    return preparer.format_table(table).replace("%%", "%"), function.replace("%%", "%")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
