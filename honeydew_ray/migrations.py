"""Operations for Alembic that make a table a queue; importing this module registers them.

    import honeydew_ray.migrations

    def upgrade():
        op.add_queue_columns("photos", "classify")

    def downgrade():
        op.drop_queue_columns("photos", "classify")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import sqlalchemy as sa
from alembic.operations import MigrateOperation, Operations

from honeydew_ray.arguments import refuse
from honeydew_ray.stores._poll.columns import (
    as_text,
    drop_statements,
    expect_columns_name,
    index_name,
    lock_name,
    private_name,
    queue_columns,
    trigger_statements,
)


@Operations.register_operation("add_queue_columns")  # pyright: ignore[reportUnknownMemberType]
class AddQueueColumns(MigrateOperation):
    """Add a queue's two columns, their index and, on PostgreSQL, the trigger that tells queues of new rows.

    Every row that is there is enqueued, unless ``existing="skip"``. ``keys`` are the columns of the primary key; if they are not
    given, the database is asked.
    """

    def __init__(self, table_name: str, queue_name: str, schema: str | None, keys: Sequence[str] | None,
                 existing: Literal["enqueue", "skip"], notify: bool) -> None:
        if existing not in ("enqueue", "skip"):
            raise refuse("add_queue_columns", "existing", existing, '"enqueue" or "skip"', 'existing="skip"')
        self.table_name, self.schema = table_name, schema
        self.queue = expect_columns_name("add_queue_columns", queue_name)
        self.keys, self.existing, self.notify = keys, existing, notify

    @classmethod
    def add_queue_columns(cls, operations: Operations, table_name: str, queue_name: str, *, schema: str | None = None,
                          keys: Sequence[str] | None = None, existing: Literal["enqueue", "skip"] = "enqueue", notify: bool = True) -> Any:
        """Make a table a queue."""
        return operations.invoke(cls(table_name, queue_name, schema, keys, existing, notify))

    def reverse(self) -> DropQueueColumns:
        """The operation that undoes it."""
        return DropQueueColumns(self.table_name, self.queue, self.schema)


@Operations.register_operation("drop_queue_columns")  # pyright: ignore[reportUnknownMemberType]
class DropQueueColumns(MigrateOperation):
    """Make a table no queue any more: what `AddQueueColumns` added goes."""

    def __init__(self, table_name: str, queue_name: str, schema: str | None) -> None:
        self.table_name, self.schema = table_name, schema
        self.queue = expect_columns_name("drop_queue_columns", queue_name)

    @classmethod
    def drop_queue_columns(cls, operations: Operations, table_name: str, queue_name: str, *, schema: str | None = None) -> Any:
        """Make a table no queue any more."""
        return operations.invoke(cls(table_name, queue_name, schema))


@Operations.implementation_for(AddQueueColumns)  # pyright: ignore[reportUnknownMemberType]
def add(operations: Operations, operation: AddQueueColumns) -> None:
    """Run it."""
    context = operations.get_context()
    table, schema, queue, dialect = operation.table_name, operation.schema, operation.queue, context.dialect
    keys = operation.keys
    if keys is None:
        keys = sa.inspect(operations.get_bind()).get_pk_constraint(table, schema=schema)["constrained_columns"]
    lock, private = queue_columns(queue)
    skips = operation.existing == "skip"
    if skips and dialect.name != "sqlite":  # so that the rows that are there get NULL, without being written
        lock.server_default = None
    operations.add_column(table, lock, schema=schema)
    operations.add_column(table, private, schema=schema)
    if skips and dialect.name == "sqlite":
        operations.execute(sa.update(sa.table(table, sa.column(lock_name(queue)), schema=schema)).values({lock_name(queue): None}))
    elif skips:
        operations.alter_column(table, lock_name(queue), server_default="0", existing_type=sa.BigInteger(), schema=schema)
    waiting = sa.column(lock_name(queue)).is_not(None)
    operations.create_index(index_name(table, queue), table, [lock_name(queue), *keys], schema=schema,
                            postgresql_where=waiting, sqlite_where=waiting)
    if operation.notify and dialect.name == "postgresql":
        for statement in trigger_statements(sa.Table(table, sa.MetaData(), schema=schema), queue, dialect):
            operations.execute(as_text(statement))


@Operations.implementation_for(DropQueueColumns)  # pyright: ignore[reportUnknownMemberType]
def drop(operations: Operations, operation: DropQueueColumns) -> None:
    """Run it."""
    table, schema, queue, dialect = operation.table_name, operation.schema, operation.queue, operations.get_context().dialect
    if dialect.name == "postgresql":
        for statement in drop_statements(sa.Table(table, sa.MetaData(), schema=schema), queue, dialect):
            operations.execute(as_text(statement))
    operations.drop_index(index_name(table, queue), table, schema=schema)
    operations.drop_column(table, private_name(queue), schema=schema)
    operations.drop_column(table, lock_name(queue), schema=schema)
