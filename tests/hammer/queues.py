"""The queues that the hammer falls on: what each has promised, and who works for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import honeydew_ray as honeydew
from tests.hammer.history import QueueFacts
from tests.hammer.plant import Choir, Plant

LEDGER, LETTERS, BOARD, CHORALE, ROWS = "ledger", "letters", "board", "chorale", "rows"

QUEUES = {
    LEDGER: QueueFacts(LEDGER, durable=True, times=2, max_redeliveries=20, moves_to=LETTERS),
    LETTERS: QueueFacts(LETTERS, durable=True, times=0, max_redeliveries=20),
    BOARD: QueueFacts(BOARD, durable=False, times=1, max_redeliveries=20, shared=True),
    CHORALE: QueueFacts(CHORALE, durable=True, times=1, max_redeliveries=20, shared=True),
    ROWS: QueueFacts(ROWS, durable=True, times=1, max_redeliveries=20),
}
"""A file, a file that the first moves to, memory with leases, a file with workers of several jobs at once, a database's table."""


class Staff(NamedTuple):
    """How the workers of a queue are started, and how many there are at least."""

    least: int
    options: dict[str, Any]


FIELD = {"field": "yes"}  # a label of the nodes that come and go

STAFF = {
    LEDGER: Staff(3, {"num": 3}),
    LETTERS: Staff(1, {"num": (1, 3), "idle_timeout_s": 2.0, "ray_options": {"num_cpus": 0.5}}),
    BOARD: Staff(2, {"num": 2, "prefetch": "auto"}),
    CHORALE: Staff(2, {"num_per_node": 1, "nodes": FIELD, "concurrency": 4, "ray_options": {"num_cpus": 0.5}}),
    ROWS: Staff(1, {"num": 1, "ray_options": {"num_cpus": 0.5}}),
}


def start_workers(queue: honeydew.Queue, folder: str) -> None:
    """Start the workers of a queue."""
    worker = Choir if queue.name == CHORALE else Plant
    queue.start_workers(worker, folder, queue.name, shutdown_s=5, **STAFF[queue.name].options)
