"""The way to a user's database: connections, errors told apart, one more try where a connection was lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from honeydew_ray.arguments import refuse
from honeydew_ray.errors import StoreError, StoreUnreachable

T = TypeVar("T")
EngineSource = str | sa.URL | Callable[[], sa.Engine]

_EXAMPLE = 'PollStore("postgresql+psycopg://user@host/database", Photo)'
_LOCK_PATIENCE_S = 30.0  # for SQLite, which has one writer at a time
_POOL_PATIENCE_S = 10.0
_NOTICE_LOSS = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}


class Database:
    """Runs pieces of work on connections, each in a thread of the caller's; an engine of its own in each process.

    Raises `StoreUnreachable` for what may pass - the database is down, restarts, has no connection left - and
    `StoreError` for what a person must mend. No message holds a password.
    """

    def __init__(self, source: EngineSource) -> None:
        self._source = _expect_source(source)
        self._engine: sa.Engine | None = None

    def __repr__(self) -> str:
        if isinstance(self._source, sa.URL):
            return repr(self._source.render_as_string(hide_password=True))
        return getattr(self._source, "__qualname__", f"<{type(self._source).__qualname__}>")  # a partial would show the URL it holds

    def __getstate__(self) -> EngineSource:
        return self._source

    def __setstate__(self, source: Any) -> None:
        self._source, self._engine = source, None

    @property
    def is_file(self) -> bool:
        """Whether the database is known to be a file on this machine."""
        return isinstance(self._source, sa.URL) and self._source.get_backend_name() == "sqlite"

    @property
    def engine(self) -> sa.Engine:
        """The engine of this process. Raises `StoreError` if it cannot be made."""
        if self._engine is None:
            try:
                self._engine = self._make()
            except ImportError as error:
                raise StoreError(f"the database's driver is missing: {error}. PostgreSQL's comes with the extra: "
                                 "pip install 'honeydew-ray[sql]'") from error
            except (exc.SQLAlchemyError, TypeError, ValueError) as error:
                raise StoreError(f"no engine can be made of {self!r}: {error}; for example {_EXAMPLE}") from error
        return self._engine

    @property
    def dialect(self) -> sa.Dialect:
        """How SQL is written here."""
        return self.engine.dialect

    def run(self, work: Callable[[sa.Connection], T], *, whole: bool = False) -> T:
        """Run some work on a connection: each statement by itself, or with ``whole`` all or none.

        It is run once more, at once, if it met with a connection that had been lost: so it must do no harm twice.
        """
        try:
            try:
                return self._run(work, whole)
            except exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return self._run(work, whole)  # the pool has dropped all others of that age
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise StoreUnreachable(f"the database cannot be used at the moment: {_words(error)}") from error
        except exc.DBAPIError as error:
            if error.connection_invalidated:
                raise StoreUnreachable(f"the connection to the database was lost: {_words(error)}") from error
            raise StoreError(f"the database refused: {_words(error)}") from error
        except exc.SQLAlchemyError as error:
            raise StoreError(f"the database refused: {error}") from error

    def close(self) -> None:
        """Let go of every connection."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _run(self, work: Callable[[sa.Connection], T], whole: bool) -> T:
        with self._connected() as connection:
            if not whole:
                return work(connection.execution_options(isolation_level="AUTOCOMMIT"))
            if self.dialect.name == "sqlite":  # its driver begins none before a SELECT, and a reader cannot always become a writer
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    value = work(connection)
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    connection.exec_driver_sql("ROLLBACK")
                    raise
                return value
            with connection.begin():
                return work(connection)

    def _connected(self) -> sa.Connection:
        engine = self.engine
        try:
            return engine.connect()
        except exc.SQLAlchemyError:
            raise
        except Exception as error:  # of a hook of the user's, which may have asked a service for a password
            raise StoreUnreachable(f"no connection to the database can be made: {type(error).__name__}") from error

    def _make(self) -> sa.Engine:
        if not isinstance(self._source, sa.URL):
            engine: Any = self._source()
            if not isinstance(engine, sa.Engine):
                raise TypeError(f"it returned {engine!r}, expected a sqlalchemy.Engine")
            return engine
        if self.is_file:
            path = self._source.database or ""
            if not os.path.exists(path):  # opening it would make an empty one
                raise StoreError(f"there is no SQLite file {path}")
            return sa.create_engine(self._source, connect_args={"timeout": _LOCK_PATIENCE_S})
        notices = _NOTICE_LOSS if self._source.drivername == "postgresql+psycopg" else {}
        arguments = {name: value for name, value in notices.items() if name not in self._source.query}
        return sa.create_engine(self._source, connect_args=arguments, pool_timeout=_POOL_PATIENCE_S, pool_recycle=1800)


def _words(error: exc.SQLAlchemyError) -> str:
    """What the driver said, without the statement and its parameters."""
    original: Any = getattr(error, "orig", None)
    return " ".join(str(error if original is None else original).split()) or type(original).__name__


def _expect_source(source: object) -> Any:
    if callable(source):
        return source
    if not isinstance(source, (str, sa.URL)):
        expected = "the URL of a database, or a function that makes an Engine"
        raise TypeError(f"PollStore: url_or_engine_factory was {_safe(source)}, expected {expected}; for example {_EXAMPLE}")
    try:
        url = sa.make_url(source)
        backend = url.get_backend_name()
    except exc.ArgumentError:
        raise refuse("PollStore", "url_or_engine_factory", "<a string that is no URL>", "the URL of a database", _EXAMPLE) from None
    if backend == "postgresql" and url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise refuse("PollStore", "url_or_engine_factory", str(url), "a file, which other processes can open", "sqlite:///photos.db")
        url = url.set(database=os.path.abspath(url.database))  # the queue's process may have another working directory
    return url


def _safe(source: object) -> str:
    """What was given, without what may be a password in it."""
    if isinstance(source, sa.Engine):
        return "an Engine, which cannot be sent to the queue's process"
    return f"<an object of type {type(source).__qualname__}>"
