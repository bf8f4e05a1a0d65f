"""Nodes that are lost, drained and added while jobs run on them: nothing is lost, and nobody has to mend anything."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import honeydew_ray as honeydew
from honeydew_ray import WorkerState
from tests.cluster.crew import Crew
from tests.cluster.machines import Machines, homes, ready, until
from tests.cluster.processes import runs
from tests.cluster.scripts import run_script
from tests.cluster.signals import Signal

pytestmark = pytest.mark.demanding

Start = Callable[..., honeydew.Queue]
NewSignal = Callable[[], Signal]


@ray.remote(num_cpus=0, max_restarts=0)
class Canary:
    """An actor of plain Ray, to hear from Ray itself that a node is lost."""

    def ping(self) -> None: ...

    def sing(self) -> None:
        threading.Event().wait()

    @classmethod
    def on(cls, node: str) -> Any:
        bird = Canary.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        ray.get(bird.ping.remote())
        return bird


def death_of(bird: Any) -> float:
    """Wait for the word that an actor is dead; the time when it came."""
    while True:
        try:
            ray.get(bird.sing.remote())
        except ActorUnavailableError:
            continue
        except ActorDiedError:
            return time.monotonic()


def test_a_lost_nodes_jobs_are_redelivered_and_its_workers_replaced_on_the_next_node(
    nodes: Machines, start: Start, new_signal: NewSignal
) -> None:
    lost = nodes.add("c")
    redelivering, failing = start(), start(node_loss="fail")  # both Abandon: a redelivery that counts as a failure would end the job
    for queue in (redelivering, failing):
        queue.start_workers(Crew, num=1, nodes={"zone": "in(c,d)"})
    started, finish, other = new_signal(), new_signal(), new_signal()
    again, never = redelivering.submit("hold", started, finish), failing.submit("hold", other, new_signal())
    started.wait(), other.wait()
    redelivering.start_workers(Crew, num=1, nodes=[nodes.zones["a"]], group="spare")
    redelivering.wait_for_workers(2)
    bird = Canary.on(lost)
    gone = nodes.lose(lost)
    told_at = death_of(bird)
    started.wait()
    assert time.monotonic() - told_at < 1.0
    finish.send("second time")
    assert again.result(timeout=30) == "second time"
    assert again.attempts == 2
    assert again.last_error is not None and (again.last_error.kind, again.last_error.node) == ("node_lost", lost)
    with pytest.raises(honeydew.JobAbandoned) as caught:
        never.result(timeout=30)
    assert caught.value.kind == "node_lost"
    for queue in (redelivering, failing):
        assert [event.node for event in queue.events(history=True, follow=False, kinds=["node_lost"])] == [lost]
    gone.join()
    for queue in (redelivering, failing):
        until(lambda queue=queue: any(worker.state is WorkerState.PENDING for worker in queue.status().workers))
    joined = nodes.add("d")
    until(lambda: homes(redelivering)[joined] == homes(failing)[joined] == 1 and ready(failing) == 1 and ready(redelivering) == 2)


def test_the_queues_own_node_is_lost(nodes: Machines, start: Start, tmp_path: Path, new_signal: NewSignal) -> None:
    lost = nodes.add("c", home=1)
    movable: dict[str, Any] = {"ray_options": {"resources": {"home": 0.001}, "scheduling_strategy": "DEFAULT"}}
    disk = tmp_path / "disk"
    disk.mkdir()
    shared = start(store=honeydew.SQLiteStore(tmp_path / "shared.db"), **movable)
    local = start(store=honeydew.SQLiteStore(disk / "local.db"), **movable)
    memory = start(**movable)
    shared.start_workers(Crew, num=1, nodes=[nodes.zones["a"]])
    started, finish = new_signal(), new_signal()
    running = shared.submit("hold", started, finish)
    started.wait()
    waiting = [shared.submit("add", number) for number in range(3)]
    forgotten, kept = memory.submit("add", 1), local.submit("add", 1)
    nodes.add("d", home=1)
    disk.rename(tmp_path / "out of reach")
    nodes.lose(lost).join()
    finish.send("ran once")
    assert running.result(timeout=60) == "ran once"
    assert [job.result(timeout=30) for job in waiting] == [0, 1, 2]
    assert running.attempts == 1
    with pytest.raises(honeydew.QueueLost):
        forgotten.result(timeout=60)
    assert memory.status().pending == 0
    with pytest.raises(honeydew.StoreError, match=r"local\.db is missing"):
        local.status()
    assert not disk.exists(), f"a new file was made, without job {kept.id}"


def test_a_node_that_drains_finishes_what_it_has_while_its_workers_are_replaced(
    nodes: Machines, start: Start, new_signal: NewSignal
) -> None:
    leaving = nodes.add("c")
    queue = start()
    queue.start_workers(Crew, num=2, nodes={"zone": "in(c,d)"})
    started, finish = new_signal(), new_signal()
    queue.wait_for_workers(2)
    job = queue.submit("hold", started, finish)
    started.wait()
    nodes.drain(leaving, within_s=60)
    joined = nodes.add("d")
    until(lambda: homes(queue) == {leaving: 1, joined: 2} and ready(queue) == 2)
    [last] = [worker for worker in queue.status().workers if worker.node == leaving]
    assert (last.state, last.job) == (WorkerState.DRAINING, job.id)
    assert queue.submit("pid").result(timeout=30) != last.pid
    finish.send("in time")
    assert job.result(timeout=30) == "in time"
    assert job.attempts == 1
    until(lambda: homes(queue) == {joined: 2})


def test_a_job_that_outlasts_the_drain_is_redelivered_before_its_node_goes(nodes: Machines, start: Start, new_signal: NewSignal) -> None:
    leaving = nodes.add("c")
    queue = start()  # Abandon
    queue.start_workers(Crew, num=1, nodes={"zone": "in(c,d)"})
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    started.wait()
    joined = nodes.add("d")
    nodes.drain(leaving, within_s=3)
    started.wait()
    finish.send("elsewhere")
    assert job.result(timeout=30) == "elsewhere"
    assert job.attempts == 2
    until(lambda: homes(queue) == {joined: 1})


def test_a_queue_whose_node_is_taken_back_is_away_and_not_gone(nodes: Machines, start: Start, tmp_path: Path,
                                                                             new_signal: NewSignal) -> None:
    leaving = nodes.add("c", home=1)
    store = honeydew.SQLiteStore(tmp_path / "shared.db")
    queue = start(store=store, ray_options={"resources": {"home": 0.001}, "scheduling_strategy": "DEFAULT"})
    queue.start_workers(Crew, num=1, nodes=[nodes.zones["a"]])
    started, finish = new_signal(), new_signal()
    running = queue.submit("hold", started, finish)
    started.wait()
    first = queue.status().pid
    jobs: list[honeydew.Job[Any]] = []
    away = threading.Event()

    def produce() -> None:
        while not away.is_set():
            jobs.append(queue.submit("add", len(jobs)))

    with ThreadPoolExecutor() as threads:
        producing = threads.submit(produce)
        try:
            nodes.add("d", home=1)
            nodes.drain(leaving, within_s=1)
            time.sleep(1)  # Ray calls its actors preempted from here on
            nodes.lose(leaving).join()
            until(lambda: queue.status().pid != first)
        finally:
            away.set()
        producing.result()
    finish.send("through it all")
    assert running.result(timeout=60) == "through it all"
    assert [job.result(timeout=60) for job in jobs] == list(range(len(jobs)))


@pytest.mark.timeout(200)
def test_ten_nodes_lost_and_added_again_under_load_lose_nothing(nodes: Machines, start: Start, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    queue = start()
    queue.start_workers(Crew, num_per_node=2, nodes={"zone": "!head"}, ray_options={"num_cpus": 0})
    queue.wait_for_workers(4)
    acknowledged: list[honeydew.Job[Any]] = []
    done = threading.Event()

    def produce() -> None:
        while not done.is_set():
            acknowledged.append(queue.submit("log", str(journal), len(acknowledged)))

    producer = threading.Thread(target=produce)
    producer.start()
    for turn in range(10):
        zone = "ab"[turn % 2]
        nodes.lose(nodes.zones[zone], graceful=turn % 3 > 0).join()
        nodes.zones[zone] = nodes.add(zone)
    try:
        for node in nodes.zones.values():
            ray.kill(Canary.on(node))  # a node that has joined starts processes of its own first, for long on a busy machine
        whole = dict.fromkeys(nodes.zones.values(), 2)
        until(lambda: homes(queue) == whole and ready(queue) == 4, tell=lambda: (nodes.zones, homes(queue), str(queue.status())))
    finally:
        done.set()
    producer.join()
    for job in acknowledged:
        job.result(timeout=60)
    runs = Counter(int(line) for line in journal.read_text().split())
    assert set(runs) == set(range(len(acknowledged)))
    assert sum(runs.values()) - len(runs) <= 10 * 2, "no more than what was in hand on the lost nodes may run twice"
    status = queue.status()
    assert (status.pending, status.in_progress, status.abandoned) == (0, 0, 0)


def test_a_driver_may_leave_while_another_works(nodes: Machines, start: Start, tmp_path: Path) -> None:
    queue = start()
    queue.start_workers(Crew, num=1, nodes=[nodes.zones["a"]])
    mine = [queue.submit("sleep", 0.02) for _ in range(20)]
    visitor = run_script(Path(__file__).with_name("visitor.py"), nodes.address, queue.name, nodes.zones["b"], str(tmp_path / "gate"))
    assert visitor.code == 0, visitor
    theirs = [queue.job(job_id) for job_id in visitor.output.split()]
    assert len(theirs) == 20
    assert "done" not in {job.state for job in theirs}
    (tmp_path / "gate").touch()
    for job in [*mine, *theirs]:
        job.result(timeout=30)
    assert homes(queue) == {nodes.zones["a"]: 1, nodes.zones["b"]: 1}




def test_stopped_workers_of_every_node_are_found_and_their_jobs_run_again(nodes: Machines, start: Start, new_signal: NewSignal) -> None:
    queue = start()
    queue.start_workers(Crew, num_per_node=1, probe_timeout_s=3)
    queue.wait_for_workers(3)
    signals = [(new_signal(), new_signal()) for _ in range(3)]
    jobs = [queue.submit("hold", *pair) for pair in signals]
    stopped = [int(started.wait()) for started, _ in signals]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    again = [int(started.wait()) for started, _ in signals]
    assert not set(stopped) & set(again)
    for pid in stopped:  # they were dead before their jobs began again, so there is no late outcome
        assert not runs(pid)
    for _, finish in signals:
        finish.send("again")
    assert [job.result(timeout=30) for job in jobs] == ["again"] * 3
    assert [job.attempts for job in jobs] == [2] * 3
