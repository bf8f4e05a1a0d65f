"""What happened in a run, in order: the basis of every check, and what two runs of one seed must agree on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Event(NamedTuple):
    """Something that happened, at a time of the loop in seconds."""

    at: float
    kind: str
    facts: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.at:12.6f}  {self.kind:<16} " + " ".join(f"{name}={value}" for name, value in self.facts)


class History:
    """Events in the order in which they happened."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closed = False  # what is left of a run is being cleared away
        self.listener: Callable[[str, dict[str, Any]], None] = lambda kind, facts: None

    def note(self, kind: str, **facts: Any) -> None:
        if self.closed:
            return
        self.listener(kind, facts)
        self.events.append(Event(asyncio.get_running_loop().time(), kind, tuple(facts.items())))

    def count(self, kind: str) -> int:
        return sum(event.kind == kind for event in self.events)

    def about(self, job_id: str) -> list[Event]:
        """The events that name a job, and the faults among them."""
        return [event for event in self.events if event.kind == "fault" or any(_names(value, job_id) for _, value in event.facts)]

    def digest(self) -> str:
        """The same for two runs exactly if they went the same way."""
        return hashlib.sha256("\n".join(map(str, self.events)).encode()).hexdigest()


def _names(value: Any, job_id: str) -> bool:
    return value == job_id or (isinstance(value, (list, tuple)) and any(_names(part, job_id) for part in value))
