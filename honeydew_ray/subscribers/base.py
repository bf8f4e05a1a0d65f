"""What a queue tells of its events to those who live in its process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from honeydew_ray.events import Event
from honeydew_ray.status import QueueStatus


class Subscriber(ABC):
    """Is told of a queue's events, in the queue's own process, on a thread of its own.

    Give instances to ``start_queue(..., subscribers=[...])``; they are pickled to the queue's process. The
    methods may block: the queue goes on, keeps its latest events (``events_kept``), and what a subscriber
    is too slow for it misses, counted. What it raises is logged, and it goes on with the next events.
    Each process of the queue begins with a new copy of the instance.

    >>> class Alarm(Subscriber):
    ...     def received(self, events, missed):
    ...         for event in events:
    ...             if event.kind == "abandoned":
    ...                 print(f"job {event.job_id} was given up: {event.failure}")
    """

    status_every_s: float | None = None
    """How often `looked` is called, in seconds; None: never."""

    def opened(self, queue: str) -> None:  # noqa: B027
        """The queue of this name is open. The first call, in the thread that makes all the others."""

    @abstractmethod
    def received(self, events: Sequence[Event], missed: int) -> None:
        """These happened, in order, at most 2,000 at a time; ``missed`` more before them are not kept any more."""

    def looked(self, status: QueueStatus) -> None:  # noqa: B027
        """How the queue stands now; see ``status_every_s``."""

    def closed(self) -> None:  # noqa: B027
        """The queue was stopped, and there is nothing more to come. Not called if its process is killed."""
