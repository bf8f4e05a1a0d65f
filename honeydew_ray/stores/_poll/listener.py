"""The ear of a poll queue on PostgreSQL: hears of new rows as they are committed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from honeydew_ray.failure import exception_text

log = logging.getLogger("honeydew_ray")

_LISTEN_S = 0.1  # how soon the thread notices that it is to end
_RETRY_S = 1.0


class Listener:
    """A thread with a connection of its own, outside the pool, that waits for NOTIFY.

    Polling is the safety net: a listener that is cut off comes back by itself, and wakes the queue then, as it may have missed something.
    """

    def __init__(self, engine: sa.Engine, channel: str, wake: Callable[[], None]) -> None:
        self._engine = engine
        self._channel = channel
        self._wake = wake
        self._ended = threading.Event()
        self._listening = threading.Event()
        self._told = False  # of the present trouble
        self._thread = threading.Thread(target=self._run, name="honeydew-listener", daemon=True)

    def start(self, patience_s: float = 5.0) -> None:
        """Listen from now on; returns once it does, or after some seconds all the same."""
        self._thread.start()
        self._listening.wait(patience_s)

    def stop(self) -> None:
        """Listen no more. Blocks until the connection is closed."""
        self._ended.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._listen()
            except Exception as error:
                if not self._told and not self._ended.is_set():
                    log.warning("not listening for new rows; polling goes on, and it is tried again: %s", exception_text(error))
                self._told = True
                self._ended.wait(_RETRY_S)

    def _listen(self) -> None:
        pooled = self._engine.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()
        try:
            connection.autocommit = True
            connection.execute(f'LISTEN "{self._channel}"')
            self._listening.set()
            self._told = False
            self._wake()
            while not self._ended.is_set():
                for _ in connection.notifies(timeout=_LISTEN_S, stop_after=1):
                    self._wake()
        finally:
            pooled.invalidate()  # it is not to be tidied up for another use
            connection.close()


def can_listen(engine: sa.Engine) -> bool:
    """Whether the database has LISTEN and its driver is psycopg 3."""
    return engine.dialect.name == "postgresql" and engine.dialect.driver == "psycopg"
