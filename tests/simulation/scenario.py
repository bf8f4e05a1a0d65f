"""What one run is like: drawn from its seed, so that runs differ in more than the order of things.

Stores are memory or a SQLite file, and no `PollStore`: that one asks its database from four threads of its own, renews its leases by real
time, and leaves it to the database's clock what is due and what is stale. Played step by step under virtual time it would be another
store than the one that runs. `tests/sql` has real databases for it, which crash, restart, and serve several queues.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from honeydew_ray.judge import NodeLoss
from honeydew_ray.placement import Plan
from tests.simulation.cluster import HEAD

NODES = ["n1", "n2", "n3"]
NEW_NODE = "n4"
"""A node that may join."""

_PLAIN_FAULTS = (
    "kill worker", "kill worker soon", "kill queue", "kill queue soon", "kill queue at a point", "kill group", "kill group soon",
    "kill client", "lose node", "cut node off", "pause worker", "pause queue", "pause group", "pause client", "lose calls",
    "slow calls", "fault of transport", "clock jumps", "disk full", "error after commit",
)
_FURTHER_FAULTS = (
    "drain node", "drain node in a crash", "node joins", "worker hangs", "worker computes", "break connections", "lose some calls",
    "slow deaths", "kill both queues",
)
FAULTS = _PLAIN_FAULTS + _FURTHER_FAULTS
CASES = (
    "a group grew", "a worker was dismissed", "a worker was let go from a node that drains", "a silent worker was fenced",
    "a worker that computes was left alone", "an attempt asked back runs", "an attempt asked back is over",
    "an attempt asked back was not begun", "a submit waited at the door", "a submit was turned away", "a queue is stopped and started",
    "a drained queue is stopped and started", "a drain that gives up", "a group is stopped and started", "a job bounces to other",
    "a job bounces to main", "a job failed with its node", "a job ran out of time", "progress was seen",
)
"""What must come about in many runs, beside the faults."""


@dataclass(frozen=True)
class Scenario:
    """The settings of a run. Times are seconds."""

    seed: int
    stores: dict[str, str]  # by queue: memory or sqlite
    homes: dict[str, str | None]  # by queue: the node that it may not leave
    staff: Plan  # of the workers of main
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
    further_faults: tuple[str, ...]  # likewise, beside them
    max_pending: int | None  # of main
    node_loss: NodeLoss
    probe_timeout_s: float
    shutdown_s: float
    stops: int  # how often a queue or a group is ended and started again
    deeds: int
    clients: int

    def __str__(self) -> str:
        stores = ", ".join(f"{queue}: {store}" for queue, store in self.stores.items())
        style = "leases" if self.prefetch else f"{self.concurrency} at once" if self.concurrency > 1 else "strict"
        faults = ", ".join(self.faults + self.further_faults) or "no faults"
        staff = self.staff
        workers = f"{staff.per_node} on each node" if staff.per_node else f"{staff.least} to {staff.most}"
        settings = (f"node_loss={self.node_loss}, max_pending={self.max_pending}, probe_timeout_s={self.probe_timeout_s:g}, "
                    f"{self.stops} stops")
        return f"seed {self.seed} ({stores}; workers: {workers}, {style}; {settings}; Retry({self.times}), then {self.finally_}; {faults})"


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(f"scenario {seed}")
    stores = {"main": rng.choice(["memory", "sqlite"]), "other": rng.choice(["memory", "sqlite"])}
    homes = {queue: rng.choice([HEAD, HEAD, "n1"]) if store == "sqlite" else rng.choice([HEAD, None]) for queue, store in stores.items()}
    calm = rng.random() < 0.1
    share = rng.choice([0.1, 0.3, 0.6])
    style = rng.choice(["strict", "strict", "prefetch", "concurrent"])
    faults = () if calm else tuple(fault for fault in _PLAIN_FAULTS if rng.random() < share)
    more = random.Random(f"more of scenario {seed}")
    share = more.choice([0.0, 0.2, 0.6])
    further = () if calm else tuple(fault for fault in _FURTHER_FAULTS if more.random() < share)
    return Scenario(
        seed, stores, homes,
        staff=_staff(rng.randint(1, 4), more),
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
        further_faults=further,
        max_pending=more.choice([None, None, None, 2, 6]),
        node_loss=more.choice(["redeliver", "redeliver", "fail"]),
        probe_timeout_s=more.choice([30.0, 3.0, 3.0]),
        shutdown_s=more.choice([0.0, 1.0, 3.0]),
        stops=more.choice([0, 0, 0, 1, 2]),
    )


def _staff(num: int, rng: random.Random) -> Plan:
    kind = rng.choice(["fixed", "fixed", "fixed", "elastic", "elastic", "per node"])
    if kind == "elastic":
        return Plan(rng.choice([0, 0, 1]), num + 1, idle_timeout_s=rng.choice([0.5, 3.0, 10.0]))
    return Plan(per_node=rng.choice([1, 1, 2])) if kind == "per node" else Plan(num, num)
