"""Where workers live, and where jobs go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import ray

import honeydew_ray as honeydew
from honeydew_ray import WorkerState
from tests.cluster.crew import Crew
from tests.cluster.machines import Machines, homes, ready, until
from tests.cluster.signals import Signal

pytestmark = pytest.mark.demanding

OFF_HEAD = {"zone": "!head"}
Start = Callable[..., honeydew.Queue]


def test_num_is_spread_over_the_nodes(nodes: Machines, start: Start) -> None:
    queue = start()
    queue.start_workers(Crew, num=6)
    queue.wait_for_workers(6)
    assert homes(queue) == dict.fromkeys(nodes.alive(), 2)


def test_a_group_may_be_kept_to_labels_to_named_nodes_and_to_resources(nodes: Machines, start: Start) -> None:
    queue = start()
    zone_a, zone_b = nodes.zones["a"], nodes.zones["b"]
    queue.start_workers(Crew, num=3, nodes={"zone": "in(a,b)"}, group="labels")
    queue.start_workers(Crew, num=2, nodes=[zone_a], group="ids")
    queue.start_workers(Crew, num=2, group="resources", ray_options={"num_cpus": 0, "resources": {"head": 0.1}})
    queue.wait_for_workers(7)
    where = {group: {worker.node for worker in queue.status().workers if worker.group == group} for group in ("labels", "ids", "resources")}
    assert where == {"labels": {zone_a, zone_b}, "ids": {zone_a}, "resources": {nodes.head}}


def test_each_node_holds_its_number_and_one_that_joins_too(nodes: Machines, start: Start) -> None:
    queue = start()
    queue.start_workers(Crew, num_per_node=2, nodes=OFF_HEAD)
    queue.wait_for_workers(4)
    assert homes(queue) == dict.fromkeys(nodes.zones.values(), 2)
    joined = nodes.add("c")
    until(lambda: homes(queue)[joined] == 2 and ready(queue) == 6)
    nodes.lose(joined, graceful=True).join()
    until(lambda: homes(queue) == dict.fromkeys(nodes.zones.values(), 2))


def test_workers_without_room_are_pending_demand_for_the_autoscaler_and_start_on_the_node_that_joins(nodes: Machines, start: Start) -> None:
    queue = start()
    queue.start_workers(Crew, num=2, nodes={"zone": "c"}, ray_options={"num_cpus": 2})
    until(lambda: {worker.state for worker in queue.status().workers} == {WorkerState.PENDING})
    assert "pending" in str(queue.status())
    until(lambda: nodes.demand().count({"CPU": 2.0}) == 2)
    joined = nodes.add("c")
    queue.wait_for_workers(2)
    assert homes(queue) == {joined: 2}


def test_lru_node_takes_turns_between_nodes_however_many_workers_each_has(nodes: Machines, start: Start) -> None:
    queue = start()
    zone_a, zone_b = nodes.zones["a"], nodes.zones["b"]
    queue.start_workers(num=1, nodes=[zone_a], group="few", ray_options={"num_cpus": 0})
    queue.start_workers(num=7, nodes=[zone_b], group="many", ray_options={"num_cpus": 0})
    queue.wait_for_workers(8)
    ran = [queue.submit(node_of_job).result(timeout=30) for _ in range(12)]
    assert ran in ([zone_a, zone_b] * 6, [zone_b, zone_a] * 6)


def node_of_job() -> str:
    return ray.get_runtime_context().get_node_id()


class ByZone(honeydew.Dispatcher):
    """Sends a job to the zone that its first argument names."""

    def __init__(self) -> None:
        self._free: dict[honeydew.WorkerRef, bool] = {}
        self._nodes: dict[str, str] = {}

    def check_in(self, worker: honeydew.WorkerRef) -> None:
        self._free[worker] = True

    def check_out(self, job: honeydew.JobRecord) -> honeydew.WorkerRef | None:
        for worker, free in self._free.items():
            if free and worker.node and worker.labels["zone"] == job.args[0]:
                self._free[worker] = False
                return worker
        return None

    def remove(self, worker: honeydew.WorkerRef) -> None:
        self._free.pop(worker, None)

    def known(self) -> list[honeydew.WorkerRef]:
        return list(self._free)

    def available(self) -> int:
        return sum(self._free.values())


def home(_: object) -> str:
    return node_of_job()


def test_a_dispatcher_of_ones_own_sees_the_job_and_the_nodes_labels(nodes: Machines, start: Start) -> None:
    queue = start(dispatcher=ByZone())
    queue.start_workers(num_per_node=1, ray_options={"num_cpus": 0})
    queue.wait_for_workers(3)
    zones = ["b", "a", "b", "head", "a", "a"]
    jobs = [queue.submit(home, zone) for zone in zones]
    expected = {**nodes.zones, "head": nodes.head}
    assert [job.result(timeout=30) for job in jobs] == [expected[zone] for zone in zones]


def test_locality_prefers_the_node_that_has_the_large_arguments(nodes: Machines, start: Start, new_signal: Callable[[], Signal]) -> None:
    np = pytest.importorskip("numpy")
    there = nodes.zones["b"]
    queue = start(dispatcher=honeydew.Locality(), ray_options={"label_selector": {"zone": "b"}})  # it keeps large arguments near it
    queue.start_workers(Crew, num_per_node=1, ray_options={"num_cpus": 0})
    queue.wait_for_workers(3)
    array = np.ones(1_000_000, dtype=np.uint8)
    assert {queue.submit(home, array).result(timeout=30) for _ in range(6)} == {there}
    assert len({queue.submit(home, 1).result(timeout=30) for _ in range(3)}) == 3, "small ones take turns"
    started, finish = new_signal(), new_signal()
    busy = queue.submit("hold", started, finish, array)
    started.wait()
    assert queue.submit(home, array).result(timeout=30) != there, "its worker is busy, and others are not"
    finish.send("done")
    assert busy.result(timeout=30) == "done"


def test_an_elastic_group_grows_with_the_backlog_and_shrinks_when_idle(start: Start, new_signal: Callable[[], Signal]) -> None:
    queue = start()
    queue.start_workers(Crew, num=(0, 3), idle_timeout_s=1)
    assert queue.status().workers == []
    signals = [(new_signal(), new_signal()) for _ in range(4)]
    jobs = [queue.submit("hold", started, finish) for started, finish in signals]
    pids = [int(started.wait()) for started, _ in signals[:3]]
    assert len(set(pids)) == 3
    assert queue.status().pending == 1 and len(queue.status().workers) == 3
    for number in (1, 2, 0):  # the fourth job is run by whoever is free first
        signals[number][1].send(number)
        if number == 1:
            signals[3][0].wait()
    until(lambda: len(queue.status().workers) == 1)
    [left] = queue.status().workers
    assert left.state is WorkerState.BUSY, "it has been busy for longer than idle_timeout_s, and runs on"
    signals[3][1].send(3)
    assert [job.result(timeout=30) for job in jobs] == ["0", "1", "2", "3"]
    assert [job.attempts for job in jobs] == [1] * 4
    until(lambda: queue.status().workers == [])
    assert queue.submit("add", 1).result(timeout=30) == 1, "and it grows again from nothing"
