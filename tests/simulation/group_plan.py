"""What a simulated worker group is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from honeydew_ray.clock import Clock
from honeydew_ray.placement import Plan
from tests.simulation.loop import Process
from tests.simulation.worker import SimWorker


@dataclass(frozen=True)
class GroupPlan:
    """What each process of one group is made from."""

    queue: str
    group: str
    staff: Plan
    make_worker: Callable[[str, Process], SimWorker]
    new_incarnation: Callable[[], str]
    clock: Clock
    init_retry_s: float = 1.0
    shutdown_s: float = 1.0
    probe_timeout_s: float = 30.0
    prefetch: bool = False
    concurrency: int = 1
