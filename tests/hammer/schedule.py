"""What is to be done to the cluster, and when: a seed gives the same schedule each time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

KILLS = ("worker", "queue", "group", "node", "driver", "restaff", "drain", "database")
PAUSES = ("worker_pause", "queue_pause", "group_pause", "driver_pause", "node_pause")
OTHERS = ("suspend",)
KINDS = (*KILLS, *PAUSES, *OTHERS)

WEIGHTS = {"worker": 5, "queue": 5, "group": 2, "node": 2, "driver": 2, "worker_pause": 3, "queue_pause": 2, "group_pause": 1,
           "driver_pause": 1, "node_pause": 1, "restaff": 1, "drain": 2, "database": 2, "suspend": 2}
GAP_S = 2.4
SHORTEST_S, LONGEST_S = 0.2, 2.4
NODE_PAUSE = 4.0  # times as long: some nodes are taken for dead meanwhile, and some are not


class Planned(NamedTuple):
    """One fault: when, of which kind, to which of the targets there are then, and for how long if it passes by itself."""

    at_s: float
    kind: str
    choice: float  # from 0 to 1
    hold_s: float


def make_schedule(seed: int, seconds: float, kinds: Iterable[str] = KINDS) -> list[Planned]:
    """Faults over so many seconds: each kind once if there is time, then at random."""
    chance = random.Random(seed)
    kinds = list(kinds)
    first = chance.sample(kinds, len(kinds))
    planned: list[Planned] = []
    at_s = chance.uniform(1.0, GAP_S)
    while at_s < seconds:
        kind = first.pop() if first else chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        hold_s = chance.uniform(SHORTEST_S, LONGEST_S) * (NODE_PAUSE if kind == "node_pause" else 1.0)
        planned.append(Planned(round(at_s, 2), kind, chance.random(), round(hold_s, 2)))
        at_s += chance.uniform(0.2, 2 * GAP_S)
    return planned


def counted(schedule: Iterable[Planned]) -> dict[str, int]:
    """How many faults of each kind; a suspension is no fault."""
    return dict(Counter(planned.kind for planned in schedule if planned.kind not in OTHERS))
