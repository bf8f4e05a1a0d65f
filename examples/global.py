"""Workers on every node of a cluster: one node is lost under its jobs, another joins, and every job ends all the same.

The three nodes are processes on this machine. The table, which needs `pip install rich`, shows what ran where.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable

# Ray notices by its health checks that a node died without a word; for an example, they shall be quicker than usual
os.environ.update({"RAY_health_check_initial_delay_ms": "0", "RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "3000"})

import ray
from ray.cluster_utils import Cluster
from rich.console import Console
from rich.live import Live
from rich.table import Table

import honeydew_ray as honeydew

JOBS = 80


class Surveyor:
    """Takes a while, and tells where it was."""

    def __init__(self) -> None:
        self.node = ray.get_runtime_context().get_node_labels()["name"]

    def survey(self, field: int) -> str:
        time.sleep(0.5)
        return self.node


class View:
    """A table with a row for each node: its workers, and the jobs that run, ran or were lost there."""

    def __init__(self, queue: honeydew.Queue, jobs: list[honeydew.Job[str]], names: dict[str, str]) -> None:
        self.queue = queue
        self.jobs = dict(enumerate(jobs, 1))
        self.names = names  # of nodes, by id
        self.numbers = {job.id: number for number, job in self.jobs.items()}
        self.ran: dict[int, str] = {}  # where, by number
        self.lost: dict[int, str] = {}

    def look(self) -> None:
        """Take in what ended since the last look."""
        for number, job in self.jobs.items():
            if number not in self.ran:
                with contextlib.suppress(TimeoutError):
                    self.ran[number] = job.result(timeout=0)
                    if job.last_error is not None:
                        self.lost[number] = self.names[job.last_error.node or ""]

    def __rich__(self) -> Table:
        workers = self.queue.status().workers
        table = Table("node", "workers", "running", "done", "lost", title=f"{len(self.ran)} of {len(self.jobs)} jobs are done")
        for node, name in self.names.items():
            here = [worker for worker in workers if worker.node == node]
            running = sorted(self.numbers[worker.job] for worker in here if worker.job is not None)
            done = [number for number, where in sorted(self.ran.items()) if where == name]
            lost = [number for number, where in sorted(self.lost.items()) if where == name]
            table.add_row(name, str(len(here)), *(" ".join(map(str, numbers)) for numbers in (running, done, lost)))
        return table


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "labels": {"name": "north"}, "include_dashboard": False})
    east = cluster.add_node(num_cpus=2, labels={"name": "east"})
    south = cluster.add_node(num_cpus=2, labels={"name": "south"})
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        fields = honeydew.start_queue("fields", ray_options={"label_selector": {"name": "north"}})
        fields.start_workers(Surveyor, num_per_node=2)  # on each node there is, and on each that joins
        fields.wait_for_workers(6)
        jobs = fields.submit_many("survey", range(JOBS))
        view = View(fields, jobs, {cluster.head_node.node_id: "north", east.node_id: "east", south.node_id: "south"})

        def watch_until(reached: Callable[[], bool]) -> None:
            while not reached():
                view.look()
                live.update(view, refresh=True)
                time.sleep(0.1)

        console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)
        live = Live(view, console=console, auto_refresh=False, redirect_stdout=False)
        with live, contextlib.redirect_stdout(io.StringIO()):  # on which Ray reports the loss of a node, at length
            watch_until(lambda: len(view.ran) >= 8)
            live.console.print("8 jobs are done: node east is lost")
            loss = threading.Thread(target=cluster.remove_node, args=(east, False))
            loss.start()
            watch_until(lambda: not loss.is_alive())
            live.console.print("node west joins")
            west = cluster.add_node(num_cpus=2, labels={"name": "west"})
            view.names[west.node_id] = "west"
            watch_until(lambda: len(view.ran) == JOBS)

        print(f"\nall {len(view.ran)} jobs are done, those of node east that were lost with it a second time: {len(view.lost)}")
        fields.stop()
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
