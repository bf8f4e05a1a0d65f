"""What a worker group's supervisor can have done about its workers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker process under this id, ``delay_s`` seconds from now, where `Supervisor.place` says then."""

    worker_id: str
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Init:
    """Have the worker make its state, ``delay_s`` seconds from now."""

    worker_id: str
    epoch: int
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Kill:
    """End the worker's process."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Retire:
    """Give the worker no more jobs, let it finish the one in hand for up to ``within_s`` seconds, and end it."""

    worker_id: str
    within_s: float


@dataclass(frozen=True, slots=True)
class Dismiss:
    """If the worker has no job in hand, give it none any more, and say `Supervisor.dismissed`."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Fence:
    """End the worker's process, which no longer answers, and have its job redelivered."""

    worker_id: str


Action = Spawn | Init | Kill | Retire | Dismiss | Fence
