"""What a failure mode may decide about a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from honeydew_ray.arguments import expect_name, expect_seconds


@dataclass(frozen=True, slots=True)
class Discard:
    """Give the job up: it goes to the queue's list of abandoned jobs, and its waiter is told."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Run the job again, ``delay_s`` seconds from now.

    ``private`` is the failure mode's own note on the job, handed back as ``job.private`` at the
    next failure. A durable store keeps it, so it should be plain data.
    """

    delay_s: float = 0.0
    private: Any = None

    def __post_init__(self) -> None:
        expect_seconds("Requeue", "delay_s", self.delay_s)


@dataclass(frozen=True, slots=True)
class MoveTo:
    """Put the job in another queue, then take it off this one."""

    queue: str

    def __post_init__(self) -> None:
        expect_name("MoveTo", "queue", self.queue)


Decision = Discard | Requeue | MoveTo
