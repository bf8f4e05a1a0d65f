"""What one run is like: drawn from its seed, so that runs differ in more than the order of things."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.simulation.cluster import HEAD

NODES = ["n1", "n2", "n3"]

FAULTS = (
    "kill worker", "kill worker soon", "kill queue", "kill queue soon", "kill queue at a point", "kill group", "kill group soon",
    "kill client", "lose node", "cut node off", "pause worker", "pause queue", "pause group", "pause client", "lose calls",
    "slow calls", "fault of transport", "clock jumps", "disk full", "error after commit",
)


@dataclass(frozen=True)
class Scenario:
    """The settings of a run. Times are seconds."""

    seed: int
    stores: dict[str, str]  # by queue: memory or sqlite
    homes: dict[str, str | None]  # by queue: the node that it may not leave
    workers: int
    times: int  # of Retry
    retry_delay_s: float
    finally_: str  # what becomes of a job that failed for good: abandon, other or nowhere
    max_redeliveries: int
    result_ttl_s: float
    decides_s: float  # how long the failure mode takes
    init_fails: int
    spoils: bool
    prefetch: bool
    concurrency: int  # of each worker of main
    delays_s: tuple[float, ...]
    faults: tuple[str, ...]  # those that may come
    deeds: int
    clients: int

    def __str__(self) -> str:
        stores = ", ".join(f"{queue}: {store}" for queue, store in self.stores.items())
        style = "leases" if self.prefetch else f"{self.concurrency} at once" if self.concurrency > 1 else "strict"
        faults = ", ".join(self.faults) or "no faults"
        return f"seed {self.seed} ({stores}; {self.workers} workers, {style}; Retry({self.times}), then {self.finally_}; {faults})"


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(f"scenario {seed}")
    stores = {"main": rng.choice(["memory", "sqlite"]), "other": rng.choice(["memory", "sqlite"])}
    homes = {queue: rng.choice([HEAD, HEAD, "n1"]) if store == "sqlite" else rng.choice([HEAD, None]) for queue, store in stores.items()}
    calm = rng.random() < 0.1
    share = rng.choice([0.1, 0.3, 0.6])
    style = rng.choice(["strict", "strict", "prefetch", "concurrent"])
    faults = () if calm else tuple(fault for fault in FAULTS if rng.random() < share)
    return Scenario(
        seed, stores, homes,
        workers=rng.randint(1, 4),
        times=rng.choice([0, 1, 3]),
        retry_delay_s=rng.choice([0.0, 0.0, 0.5]),
        finally_=rng.choice(["abandon", "other", "other", "nowhere"]),
        max_redeliveries=rng.choice([2, 20]),
        result_ttl_s=rng.choice([600.0, 120.0]),
        decides_s=rng.choice([0.0, 0.03]),
        init_fails=rng.choice([0, 0, 0, 1]),
        spoils=rng.random() < 0.7,
        prefetch=style == "prefetch",
        concurrency=3 if style == "concurrent" else 1,
        delays_s=rng.choice([(0.001,), (0.0005, 0.001, 0.005), (0.001, 0.01, 0.05), (0.001, 0.02, 0.3)]),
        faults=faults,
        deeds=rng.choice([15, 30, 45]),
        clients=rng.randint(1, 3),
    )
