"""A cluster of several nodes on this machine, whose nodes can be lost, drained and added."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

import honeydew_ray as honeydew
from honeydew_ray import WorkerState

# A node that is gone is noticed within 2 s, one that is merely slow on a busy machine is left alone.
_FAST_DETECTION = {"initial_delay_ms": 0, "period_ms": 500, "timeout_ms": 3000, "failure_threshold": 3}


class Machines:
    """A head node, which has the label ``zone: head``, and as many nodes as a test adds."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.address: str = cluster.address
        self.head: str = cluster.head_node.node_id
        self._nodes: dict[str, Any] = {}
        self.zones: dict[str, str] = {}  # the nodes that every test finds, by zone

    def add(self, zone: str, cpus: int = 4, **resources: float) -> str:
        """A node joins; its id."""
        node = self._cluster.add_node(num_cpus=cpus, labels={"zone": zone}, resources=resources)
        self._nodes[node.node_id] = node
        return node.node_id

    def lose(self, node: str, graceful: bool = False) -> threading.Thread:
        """A node is gone at once, without a word unless ``graceful``. The thread ends when all its processes have."""
        machine = self._nodes.pop(node)
        thread = threading.Thread(target=self._cluster.remove_node, args=(machine, graceful))
        thread.start()
        return thread

    def drain(self, node: str, within_s: float) -> None:
        """Ray is told that the node will be gone, as a provider does before it takes a machine back."""
        drain(node, within_s)

    def alive(self) -> list[str]:
        """The ids of the nodes that Ray counts as alive."""
        return [entry["NodeID"] for entry in ray.nodes() if entry["Alive"]]

    def demand(self) -> list[dict[str, float]]:
        """The resources that the autoscaler is asked for and that no node has free."""
        state = get_cluster_resource_state(ray._private.worker.global_worker.gcs_client)
        return [dict(entry.request.resources_bundle) for entry in state.pending_resource_requests for _ in range(entry.count)]

    def keep(self, *nodes: str) -> None:
        """Every node but these and the head leaves."""
        for node in [known for known in self._nodes if known not in nodes]:
            self.lose(node, graceful=True).join()


def drain(node: str, within_s: float) -> None:
    """Tell Ray that a node will be gone after so long."""
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    client = ray._private.worker.global_worker.gcs_client
    accepted, why_not = client.drain_node(node, reason, "a test", int((time.time() + within_s) * 1000))
    assert accepted, why_not


@contextlib.contextmanager
def machines(head_cpus: int = 4, **head_options: Any) -> Iterator[Machines]:
    """A cluster that begins with a head node, and that this process is connected to."""
    names = {f"RAY_health_check_{name}": str(value) for name, value in _FAST_DETECTION.items()}
    before = {name: os.environ.get(name) for name in (*names, "RAY_ADDRESS")}
    os.environ.update(names)
    os.environ.pop("RAY_ADDRESS", None)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": head_cpus, "include_dashboard": False, "labels": {"zone": "head"}, "resources": {"head": 1}, **head_options,
        },
    )
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        yield Machines(cluster)
    finally:
        ray.shutdown()
        cluster.shutdown()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def until(reached: Callable[[], Any], within_s: float = 30.0, tell: Callable[[], object] = lambda: "") -> Any:
    """Look until something is true, and return it; ``tell`` says how things stand if it never is."""
    deadline = time.monotonic() + within_s
    while not (found := reached()):
        assert time.monotonic() < deadline, f"not so within {within_s} s; {tell()}"
        time.sleep(0.02)
    return found


def homes(queue: honeydew.Queue) -> Counter[str | None]:
    """How many workers live on each node."""
    return Counter(worker.node for worker in queue.status().workers)


def ready(queue: honeydew.Queue) -> int:
    return sum(worker.state in (WorkerState.IDLE, WorkerState.BUSY) for worker in queue.status().workers)
