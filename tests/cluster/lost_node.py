"""A script of a test: a durable queue on a node of its own, which is lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

FAST_DETECTION = {"initial_delay_ms": 0, "period_ms": 1000, "timeout_ms": 500, "failure_threshold": 3}
os.environ.update({f"RAY_health_check_{name}": str(value) for name, value in FAST_DETECTION.items()})
os.environ.pop("RAY_ADDRESS", None)

import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

import honeydew_ray as honeydew  # noqa: E402


def refused(call: Callable[[], object]) -> str:
    try:
        return f"not refused: {call()}"
    except Exception as error:
        return type(error).__name__


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    node = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    place = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node.node_id, soft=False)}
    queue = honeydew.start_queue("far", store=honeydew.SQLiteStore(folder / "far.db"), ray_options=place)
    job = queue.submit(os.getpid)
    cluster.remove_node(node, allow_graceful=False)
    try:
        job.result(timeout=60)
    except honeydew.QueueLost as error:
        print("result", type(error).__name__, str(error).split("; ")[1].split(":")[0])
    calls: list[Callable[[], object]] = [queue.status, lambda: queue.submit(os.getpid), lambda: queue.job(job.id).state, queue.stop]
    print("calls", *(refused(call) for call in calls))
    print("queues", *honeydew.queues() or ["none"])
    again = honeydew.start_queue("far", store=honeydew.SQLiteStore(folder / "far.db"))  # these nodes share a disk
    print("carried on with", again.status().pending)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
