"""The subscribers of the queues that run in this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from honeydew_ray.event_log import EventLog, event_of
from honeydew_ray.failure import type_name
from honeydew_ray.subscribers.base import Subscriber

log = logging.getLogger("honeydew_ray")


class Audience:
    """Tells subscribers what happens, in the thread of whoever drives the queues.

    Invariant: one call at a time. A subscriber may use the queues, and stop them: what happens during a call is told after it.
    """

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._telling = threading.Lock()

    def join(self, subscribers: Iterable[Subscriber], events: EventLog) -> None:
        """A queue is open that has these subscribers."""
        self._listeners += [_Listener(subscriber, events) for subscriber in subscribers]

    def tell(self) -> None:
        """Tell all that is untold; while somebody is being told, this is left to whoever tells them."""
        while self._behind() and self._telling.acquire(blocking=False):
            try:
                for listener in self._behind():
                    listener.hear()
                    if listener.closed:
                        self._listeners.remove(listener)
            finally:
                self._telling.release()

    def _behind(self) -> list[_Listener]:
        return [listener for listener in self._listeners if listener.is_behind()]


class _Listener:
    """A subscriber of one queue, and how much of it was told."""

    def __init__(self, subscriber: Subscriber, events: EventLog) -> None:
        self._subscriber = subscriber
        self._events = events
        self._opened = False
        self._upto = 0
        self.closed = False

    def is_behind(self) -> bool:
        """Whether there is something to hear."""
        return not self._opened or self._events.last > self._upto or (self._events.closed and not self.closed)

    def hear(self) -> None:
        """Make the next call."""
        if not self._opened:
            self._opened = True
            self._call(self._subscriber.opened, self._events.queue)
        elif self._events.last > self._upto:
            page = self._events.read(self._events.incarnation, self._upto)
            self._upto = page.upto
            self._call(self._subscriber.received, [event_of(raw, self._events.queue) for raw in page.events], page.missed)
        else:
            self.closed = True
            self._call(self._subscriber.closed)

    def _call(self, method: Callable[..., None], *args: Any) -> None:
        try:
            method(*args)
        except (Exception, SystemExit):  # but a Ctrl-C, and pytest.fail(), are for the caller, whose thread this is
            log.exception("subscriber %s raised in %s", type_name(type(self._subscriber)), method.__name__)
