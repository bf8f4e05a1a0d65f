"""Opening a store, which may have to wait until its database can be reached."""

from __future__ import annotations

import asyncio
import logging

from honeydew_ray.errors import StoreUnreachable
from honeydew_ray.stores.base import Opened, Store

log = logging.getLogger("honeydew_ray")

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0


class Opening:
    """Knows whether a store is open, and if not, why."""

    def __init__(self, store: Store, queue: str) -> None:
        self.trouble: str | None = None
        self._store = store
        self._queue = queue
        self._opened = False

    async def once(self) -> Opened | None:
        """Open the store; None if it cannot be reached now. Raises what else keeps it from opening."""
        try:
            opened = await self._store.open(self._queue)
        except StoreUnreachable as error:
            if self.trouble is None:
                log.warning("queue %r cannot open its store yet, and tries again: %s", self._queue, error)
            self.trouble = str(error)
            return None
        self.trouble, self._opened = None, True
        return opened

    async def at_last(self) -> Opened | None:
        """Try again, after longer and longer pauses, until it is open; None if something else keeps it from opening."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            try:
                opened = await self.once()
            except Exception as error:  # the database is there, and its table is not: a person has to mend that, and can
                log.exception("queue %r cannot open its store, and tries again", self._queue)
                self.trouble = str(error)
                continue
            if opened is not None:
                return opened

    def expect_open(self) -> None:
        """Raises `StoreUnreachable` while the store is not open."""
        if not self._opened and self.trouble is not None:
            raise StoreUnreachable(f"queue {self._queue!r} has yet to open its store: {self.trouble}")

    @property
    def is_open(self) -> bool:
        """Whether the store has been opened."""
        return self._opened
