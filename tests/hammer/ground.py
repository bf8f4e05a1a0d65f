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
from ray._common.utils import get_default_ray_temp_dir
from ray._private.state import actors as actor_table  # pyright: ignore
from ray.cluster_utils import Cluster

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster as honeydew_cluster
from tests.cluster.machines import drain
from tests.hammer import table
from tests.hammer.queues import BOARD, CHORALE, FIELD, LEDGER, LETTERS, ROWS, STAFF, start_workers
from tests.sql.server import Server

ROOT = Path(__file__).parents[2]
MARK = "HONEYDEW_HAMMER"
NODES = 2
NODE_CPUS = 4
NODE_TRIES = 3
GONE_S = 30.0


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
        self._server: Server | None = None

    def build(self) -> None:
        """Start the database, the nodes, the queues and their workers."""
        self._server = Server(self.folder / "database")
        table.create(self._server.url)
        Path(get_default_ray_temp_dir()).mkdir(parents=True, exist_ok=True)  # Ray writes there, too
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
            CHORALE: honeydew.start_queue(CHORALE, store=honeydew.SQLiteStore(files / "chorale.db"), failure_mode=honeydew.Retry(times=1)),
            ROWS: honeydew.start_queue(ROWS, store=table.store(self._server.url), failure_mode=honeydew.Retry(times=1)),
        }
        for name in self.queues:
            self.staff(name)
        for name, queue in self.queues.items():
            queue.wait_for_workers(STAFF[name].least)

    def staff(self, name: str) -> None:
        """Start the workers of a queue."""
        start_workers(self.queues[name], str(self.folder))

    @property
    def server(self) -> Server:
        """The database of the queue of rows."""
        if self._server is None:
            raise RuntimeError("there is no database before build()")
        return self._server

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
        for tries_left in range(NODE_TRIES - 1, -1, -1):
            try:
                self._cluster.add_node(num_cpus=NODE_CPUS, labels=FIELD)
                return
            except Exception as error:  # Ray waits half a minute for it, which a busy machine may need
                if "timed out during startup" not in str(error) or not tries_left:
                    raise

    def drain_node(self, node: Any, within_s: float) -> None:
        """Have Ray told that a node will be gone after so long."""
        drain(node.node_id, within_s)

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
        command = [sys.executable, "-m", "tests.hammer.driver", str(self.folder), str(number), str(seed), self._cluster.address,
                   self.server.url]
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
        if self._server is not None:
            self._server.end()
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
