"""Work that other threads have done on the main thread."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import Future


class Errands:
    """A line of errands, and the main thread that runs them while it waits."""

    def __init__(self) -> None:
        self._line: queue.Queue[tuple[Callable[[], object], Future[None]]] = queue.Queue()

    def run(self, errand: Callable[[], object]) -> None:
        """Have it run on the main thread; returns when it is done, or raises what it raised."""
        done: Future[None] = Future()
        self._line.put((errand, done))
        done.result()

    def serve(self, until: float) -> None:
        """Run errands until this time, of the monotonic clock."""
        while (left := until - time.monotonic()) > 0:
            try:
                errand, done = self._line.get(timeout=left)
            except queue.Empty:
                return
            try:
                errand()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)
