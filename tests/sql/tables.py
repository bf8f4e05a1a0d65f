"""Tables that are queues, and stores on them, for tests."""

from __future__ import annotations

import itertools
from typing import Any

import sqlalchemy as sa

from honeydew_ray import PollStore, add_queue_columns
from honeydew_ray.testing import StoreDriver

_owners = itertools.count(1)


class Photos:
    """A table of photos in a database, as its application sees it."""

    def __init__(self, url: str, *queues: str, name: str = "photos", keys: Any = None, schema: str | None = None,
                 create: bool = True) -> None:
        self.url = url
        self.engine = sa.create_engine(url)
        key_columns = keys or [sa.Column("id", sa.Integer, primary_key=True)]
        self.table = sa.Table(name, sa.MetaData(), *key_columns, sa.Column("size", sa.Integer, server_default="0"), schema=schema)
        for queue in queues or ("test",):
            add_queue_columns(self.table, queue)
        if create:
            self.table.metadata.create_all(self.engine)
        self._drivers: list[StoreDriver] = []

    def __enter__(self) -> Photos:
        return self

    def __exit__(self, *_: object) -> None:
        for driver in self._drivers:
            driver.close()
        self.engine.dispose()

    def insert(self, *rows: Any, **values: Any) -> None:
        """Rows by their ids, or by all their values."""
        given = [row if isinstance(row, dict) else {"id": row, **values} for row in rows]
        with self.engine.begin() as connection:
            connection.execute(sa.insert(self.table), given)

    def run(self, statement: Any) -> Any:
        """Run a statement of the application's own."""
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(statement) if isinstance(statement, str) else statement)
            return result.all() if result.returns_rows else None

    def set(self, key: Any, **values: Any) -> None:
        """Change a row."""
        self.run(sa.update(self.table).where(self.table.c.id == key).values(**values))

    def row(self, key: Any, queue: str = "test") -> tuple[Any, Any]:
        """A row's lock and private columns."""
        lock, private = self.table.c[f"honeydew_{queue}_lock"], self.table.c[f"honeydew_{queue}_private"]
        [row] = self.run(sa.select(lock, private).where(self.table.c.id == key))
        return tuple(row)

    def store(self, **options: Any) -> PollStore:
        """A store on the table, of an owner of its own."""
        options.setdefault("poll_interval_s", 60.0)
        return PollStore(options.pop("source", self.url), options.pop("table", self.table), **options)

    def open(self, queue: str = "test", **options: Any) -> StoreDriver:
        """A store that is open; it is closed in the end."""
        driver = StoreDriver(self.store(**options), queue)
        self._drivers.append(driver)
        return driver
