"""The ground that the hammer falls on: a cluster of several nodes on this machine, with queues and workers in it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private.state import actors as actor_table  # pyright: ignore
from ray.cluster_utils import Cluster

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster as honeydew_cluster
from tests.hammer.driver import BOARD, LEDGER, LETTERS
from tests.hammer.history import QueueFacts
from tests.hammer.plant import Plant

ROOT = Path(__file__).parents[2]
MARK = "HONEYDEW_HAMMER"
NODES = 2
NODE_CPUS = 3
GONE_S = 30.0

QUEUES = {
    LEDGER: QueueFacts(LEDGER, durable=True, times=2, max_redeliveries=20, moves_to=LETTERS),
    LETTERS: QueueFacts(LETTERS, durable=True, times=0, max_redeliveries=20),
    BOARD: QueueFacts(BOARD, durable=False, times=1, max_redeliveries=20, leases=True),
}
WORKERS = {LEDGER: 3, LETTERS: 1, BOARD: 2}


@dataclass(frozen=True)
class Actor:
    """An actor of Honeydew that lives."""

    name: str
    pid: int
    node: str


class Ground:
    """Started by `build`; `clear` ends all of it, whatever state it is in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queues: dict[str, honeydew.Queue] = {}
        self.drivers: dict[str, subprocess.Popen[bytes]] = {}
        self._cluster = Cluster()

    def build(self) -> None:
        """Start the nodes, the queues and their workers."""
        self._cluster.add_node(num_cpus=2, include_dashboard=False, temp_dir=str(self.folder / "ray"))
        for _ in range(NODES):
            self.add_node()
        ray.init(address=self._cluster.address, log_to_driver=False)
        files = self.folder / "stores"
        self.queues = {
            LETTERS: honeydew.start_queue(LETTERS, store=honeydew.SQLiteStore(files / "letters.db")),
            LEDGER: honeydew.start_queue(LEDGER, store=honeydew.SQLiteStore(files / "ledger.db"),
                                         failure_mode=honeydew.Retry(times=2, finally_=honeydew.Move(LETTERS))),
            BOARD: honeydew.start_queue(BOARD, failure_mode=honeydew.Retry(times=1), ray_options={"scheduling_strategy": "SPREAD"}),
        }
        for name in self.queues:
            self.staff(name)
        for name, queue in self.queues.items():
            queue.wait_for_workers(WORKERS[name])

    def staff(self, name: str) -> None:
        """Start the workers of a queue."""
        prefetch = "auto" if QUEUES[name].leases else 1
        self.queues[name].start_workers(Plant, str(self.folder), name, num=WORKERS[name], shutdown_s=5, prefetch=prefetch)

    # -- what there is ---------------------------------------------------------------------------

    def actors(self, prefix: str = "") -> list[Actor]:
        """The live actors whose names begin so, in the order of their names."""
        found = [Actor(entry["Name"], entry["Pid"], entry["Address"]["NodeID"]) for entry in actor_table().values()
                 if entry["State"] == "ALIVE" and entry["Pid"] and entry["Name"].startswith(("queue/", "workers/", "worker/"))]
        return sorted((actor for actor in found if actor.name.startswith(prefix)), key=lambda actor: actor.name)

    def nodes(self) -> list[Any]:
        """The nodes that may be lost: all but the head."""
        return sorted(self._cluster.worker_nodes, key=lambda node: node.node_id)

    def add_node(self) -> None:
        """For the main thread only: a node's processes die with the thread that started them."""
        self._cluster.add_node(num_cpus=NODE_CPUS)

    def lose_node(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)

    def alive(self, node: Any) -> bool:
        """Whether Ray counts a node as alive."""
        return any(entry["NodeID"] == node.node_id and entry["Alive"] for entry in ray.nodes())

    def repair(self) -> None:
        """Replace nodes that Ray has given up. For the main thread only."""
        for node in self.nodes():
            if not self.alive(node):
                self.lose_node(node)
                self.add_node()

    def start_driver(self, number: int, seed: int) -> None:
        """Start a program that uses the queues."""
        command = [sys.executable, "-m", "tests.hammer.driver", str(self.folder), str(number), str(seed), self._cluster.address]
        log = (self.folder / f"driver{number}.log").open("wb")
        with log:
            self.drivers[str(number)] = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    # -- the end ---------------------------------------------------------------------------------

    def stop_queues(self) -> dict[str, Any]:
        """Stop all queues; what of them is left in the cluster."""
        for queue in self.queues.values():
            queue.stop()
        deadline = time.monotonic() + GONE_S
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def _left(self) -> dict[str, Any]:
        reserved = ray.cluster_resources().get("CPU", 0.0) - ray.available_resources().get("CPU", 0.0)
        left = {"actors": honeydew_cluster.actor_names(), "cpus": reserved}
        return {what: value for what, value in left.items() if value}

    def clear(self) -> dict[int, str]:
        """End every process that was started, and say which had to be killed for it."""
        for driver in self.drivers.values():
            with contextlib.suppress(ProcessLookupError):
                driver.kill()
            driver.wait()
        with contextlib.suppress(Exception):
            ray.shutdown()
        with contextlib.suppress(Exception):
            self._cluster.shutdown()
        deadline = time.monotonic() + GONE_S
        while (left := processes_marked(os.environ[MARK])) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        return left


def processes_marked(mark: str) -> dict[int, str]:
    """The live processes that were started with this mark in their environment: id and command."""
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it ended meanwhile, or is someone else's
            continue
        if marked and state != "Z":
            found[int(process.name)] = command[:200]
    return found
