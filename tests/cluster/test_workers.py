"""Workers: their state, how they start, fail to start, and stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.exceptions import RayActorError
from ray.experimental.internal_kv import _internal_kv_list

import honeydew_ray as honeydew
from honeydew_ray import WorkerState
from honeydew_ray.actors import blackbox, names
from tests.cluster.crew import AsksToWait, Crew, Database, FailsToStart, HangsAtFirst, WaitsToRebuild
from tests.cluster.machines import until
from tests.cluster.processes import runs
from tests.cluster.signals import Signal

Start = Callable[..., honeydew.Queue]


def test_a_worker_keeps_its_state_from_job_to_job(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    assert [queue.submit("count").result(timeout=30) for _ in range(3)] == [1, 2, 3]


def test_a_failed_job_has_the_state_rebuilt_in_the_same_process(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    process = queue.submit("pid").result(timeout=30)
    assert queue.submit("count").result(timeout=30) == 1
    with pytest.raises(honeydew.JobAbandoned):
        queue.submit("die", "raise").result(timeout=30)
    assert queue.submit("count").result(timeout=30) == 1
    assert queue.submit("pid").result(timeout=30) == process


def test_rebuild_never_keeps_the_state(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1, rebuild="never")
    assert queue.submit("count").result(timeout=30) == 1
    with pytest.raises(honeydew.JobAbandoned):
        queue.submit("die", "raise").result(timeout=30)
    assert queue.submit("count").result(timeout=30) == 2


def test_state_may_belong_to_a_thread(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Database, num=1)
    assert [queue.submit("query").result(timeout=30) for _ in range(2)] == [42, 42]


def test_an_init_that_raises_is_tried_again_and_shows(new_queue: Start, tmp_path: Path) -> None:
    queue = new_queue()
    counter = tmp_path / "counter"
    queue.start_workers(FailsToStart, str(counter), 1_000_000, num=1, init_retry_s=0.1)
    job = queue.submit("ready")
    said = ""
    while "failed_init" not in said:  # its process may take a while to start
        with pytest.raises(TimeoutError) as late:
            queue.wait_for_workers(1, timeout=0.1)
        said = str(late.value)
    worker = queue.status().workers[0]
    assert worker.state in (WorkerState.FAILED_INIT, WorkerState.STARTING)
    assert worker.error is not None and "raised on purpose" in worker.error
    assert job.state == "pending"
    os.truncate(counter, 1_000_000)  # from now on it works
    assert job.result(timeout=30) == "ready"
    assert queue.status().workers[0].error is None


def test_no_other_program_of_these_tests_goes_before_a_worker(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(num=1)
    assert queue.submit(os.nice, 0).result(timeout=30) == os.nice(0)


def test_others_work_while_one_cannot_start(new_queue: Start, tmp_path: Path) -> None:
    queue = new_queue()
    queue.start_workers(FailsToStart, str(tmp_path / "counter"), 1, num=2, init_retry_s=3600)
    assert queue.submit("ready").result(timeout=30) == "ready"


def test_init_failed_decides_when_to_try_again(new_queue: Start, tmp_path: Path) -> None:
    queue = new_queue()
    queue.start_workers(AsksToWait, str(tmp_path / "counter"), 2, num=1, init_retry_s=3600)
    assert queue.submit("ready").result(timeout=30) == "ready"


@pytest.mark.parametrize("how", ["exit 0", "sys.exit 0", f"signal {int(signal.SIGKILL)}"])
def test_an_init_that_ends_its_process_is_tried_again(new_queue: Start, tmp_path: Path, how: str) -> None:
    queue = new_queue()
    queue.start_workers(FailsToStart, str(tmp_path / "counter"), 2, how, num=1, init_retry_s=0.1)
    assert queue.submit("ready").result(timeout=30) == "ready"


def test_an_init_that_hangs_is_ended_and_tried_again(new_queue: Start, tmp_path: Path) -> None:
    queue = new_queue()
    queue.start_workers(HangsAtFirst, str(tmp_path / "mark"), num=1, init_timeout_s=0.5, init_retry_s=0.1)
    assert queue.submit("ready").result(timeout=30) == "ready"


def test_a_hanging_init_does_not_hold_up_stop(new_queue: Start, tmp_path: Path) -> None:
    queue = new_queue()
    mark = tmp_path / "mark"
    queue.start_workers(HangsAtFirst, str(mark), num=1)
    queue.submit("ready")
    with pytest.raises(TimeoutError):
        queue.wait_for_workers(1, timeout=1.5)
    queue.stop()
    assert queue.name not in honeydew.queues()


def test_workers_may_start_before_their_queue(new_queue: Start) -> None:
    honeydew.start_workers("early-birds", Crew, 5, num=1)
    assert "early-birds" in honeydew.workers()
    assert "early-birds" not in honeydew.queues()
    queue = new_queue("early-birds")
    assert queue.submit("add", 1).result(timeout=30) == 6


def test_workers_without_room_are_pending_and_start_when_there_is_room(new_queue: Start) -> None:
    first, second = new_queue(), new_queue()
    everything = {"num_cpus": ray.available_resources()["CPU"]}
    first.start_workers(Crew, num=1, ray_options=everything)
    first.wait_for_workers(1)
    second.start_workers(Crew, 3, num=1, ray_options=everything)
    said = ""
    while "pending" not in said:  # it takes two looks at the nodes to be sure
        with pytest.raises(TimeoutError) as late:
            second.wait_for_workers(1, timeout=0.5)
        said = str(late.value)
    first.stop_workers()
    assert second.submit("add", 1).result(timeout=30) == 4


def test_starting_and_stopping_by_name(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    with pytest.raises(honeydew.WorkersAlreadyStarted, match="default"):
        queue.start_workers(Crew, num=1)
    queue.start_workers(Crew, num=1, group="more")
    assert honeydew.workers().count(queue.name) == 1
    queue.wait_for_workers(2)
    pids = [worker.pid for worker in queue.status().workers]
    honeydew.stop_workers(queue.name)
    queue.stop_workers("more")
    assert queue.name not in honeydew.workers()
    assert queue.status().workers == []
    for pid in pids:
        assert not runs(pid)
    assert not list(blackbox.path_of("any").parent.glob(f"{queue.name}~*"))
    with pytest.raises(honeydew.WorkersNotFound):
        queue.stop_workers()
    queue.start_workers(Crew, 1, num=1)
    assert queue.submit("add", 1).result(timeout=30) == 2


def test_a_group_that_was_stopped_is_gone_though_nobody_heard_of_it(new_queue: Start) -> None:
    """Else its process, if it died before whoever stopped it went on, would be started again, and start workers."""
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    group = ray.get_actor(names.group_actor(queue.name, "default"), namespace=names.NAMESPACE)
    with contextlib.suppress(RayActorError):  # it may be gone before it has answered
        ray.get(group.stop.remote())

    def ask_on() -> None:
        for _ in range(10_000):
            ray.get(group.start.remote())

    with pytest.raises(RayActorError):
        ask_on()
    queue.start_workers(Crew, 1, num=1)
    assert queue.submit("add", 1).result(timeout=30) == 2


def test_stopping_workers_lets_the_job_in_hand_finish(new_queue: Start, new_signal: Callable[[], Signal]) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1, shutdown_s=30)
    started, finish = new_signal(), new_signal()
    job, waiting = queue.submit("hold", started, finish), queue.submit("add", 1)
    started.wait()
    stopper = threading.Thread(target=queue.stop_workers)
    stopper.start()
    while queue.status().workers[0].state is not WorkerState.DRAINING:
        assert job.state == "in_progress"
    finish.send("finished")
    assert job.result(timeout=30) == "finished"
    stopper.join()
    assert waiting.state == "pending"  # it was not started on a worker that was leaving


def test_a_job_that_outlasts_shutdown_goes_back_to_its_queue(new_queue: Start, new_signal: Callable[[], Signal]) -> None:
    queue = new_queue()  # Abandon: if stopping counted as a failure, the job would be gone
    queue.start_workers(Crew, num=1, shutdown_s=0.2)
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    victim = int(started.wait())
    queue.stop_workers()
    assert not runs(victim)
    assert job.state == "pending"
    queue.start_workers(Crew, num=1)
    started.wait()
    finish.send("second time")
    assert job.result(timeout=30) == "second time"
    assert job.attempts == 2


def test_workers_outlive_their_groups_process(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2)
    queue.wait_for_workers(2)
    pids = {worker.pid for worker in queue.status().workers}
    group = ray.get_actor(names.group_actor(queue.name, "default"), namespace=names.NAMESPACE)
    ray.kill(group, no_restart=False)
    assert queue.submit("pid").result(timeout=30) in pids
    os.kill(queue.submit("pid").result(timeout=30), signal.SIGKILL)  # the new group process must notice and replace it
    for _ in range(20):
        queue.wait_for_workers(2)
        assert queue.submit("pid").result(timeout=30)
    now = {worker.pid for worker in queue.status().workers}
    assert len(now) == 2
    assert len(now & pids) == 1


def test_the_head_node_keeps_one_copy_of_the_workers_class_however_many_are_started(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2, ray_options={"num_cpus": 0})
    queue.wait_for_workers(2)
    classes = _internal_kv_list(b"", namespace="fun")
    assert classes
    pids = {worker.pid for worker in queue.status().workers if worker.pid is not None}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not pids & {worker.pid for worker in queue.status().workers})
    queue.start_workers(Crew, num=2, group="more", ray_options={"num_cpus": 0})
    queue.wait_for_workers(4)
    added = set(_internal_kv_list(b"", namespace="fun")) - set(classes)
    assert len(added) == 1, "that of the second group's own process"


def test_a_group_with_a_large_state_is_restarted_though_who_started_it_is_gone(new_queue: Start) -> None:
    queue, starter = new_queue(), new_queue()
    starter.start_workers(num=1, ray_options={"num_cpus": 0})
    starter.submit(honeydew.start_workers, queue.name, Crew, np.zeros(100_000), num=1).result(timeout=30)
    queue.wait_for_workers(1)
    starter.stop()  # and with its worker what that has in the object store
    ray.kill(ray.get_actor(names.group_actor(queue.name, "default"), namespace=names.NAMESPACE), no_restart=False)
    pid = queue.submit("pid").result(timeout=30)
    os.kill(pid, signal.SIGKILL)
    assert queue.submit("pid").result(timeout=30) != pid
    queue.stop_workers()
    assert not _internal_kv_list(b"honeydew kept")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks why a job has not ended is answered, however busy the machine."""
    monkeypatch.setattr("honeydew_ray.job_handle._ASK_WHY_S", 30.0)


@pytest.mark.usefixtures("patient")
def test_whoever_waits_for_a_job_that_nobody_can_run_is_told_why(new_queue: Start) -> None:
    queue = new_queue()
    job = queue.submit("add", 1)
    with pytest.raises(TimeoutError, match=r"has not ended within 0.5 s: the queue has no workers; start_workers"):
        job.result(timeout=0.5)
    queue.suspend()
    with pytest.raises(TimeoutError, match="suspended"):
        job.result(timeout=0.5)


@pytest.mark.usefixtures("patient")
def test_whoever_waits_for_a_job_that_takes_long_is_told_how_it_stands(new_queue: Start, new_signal: Callable[[], Signal]) -> None:
    queue, started, finish = new_queue(), new_signal(), new_signal()
    queue.start_workers(Crew, num=1)
    job = queue.submit("hold", started, finish)
    started.wait()
    with pytest.raises(TimeoutError, match=r"has not ended within 0.5 s: attempt 1 has been under way for \d"):
        job.result(timeout=0.5)
    finish.send()
    job.result(timeout=30)


def test_a_method_that_no_worker_has_is_refused_as_soon_as_the_workers_were_started(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    with pytest.raises(honeydew.UnknownMethod, match="no worker has a method 'ad'; its workers run Crew"):
        queue.submit("ad", 1)


def test_a_group_that_is_being_restarted_stops_its_workers_all_the_same(new_queue: Start, new_signal: Callable[[], Signal]) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2, shutdown_s=0)
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    started.wait()
    queue.wait_for_workers(2)
    pids = [worker.pid for worker in queue.status().workers]
    ray.kill(ray.get_actor(names.group_actor(queue.name, "default"), namespace=names.NAMESPACE), no_restart=False)
    queue.stop_workers()
    assert queue.status().workers == []
    assert not any(runs(pid) for pid in pids)
    assert job.state == "pending"
    queue.start_workers(Crew, num=1)
    started.wait()
    finish.send("second time")
    assert job.result(timeout=30) == "second time"


def test_bad_arguments_are_refused_at_once(new_queue: Start) -> None:
    queue = new_queue()
    with pytest.raises(TypeError, match="a class"):
        queue.start_workers(Crew(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="do not fit"):
        queue.start_workers(Crew, 1, 2, 3)
    with pytest.raises(ValueError, match="num was 0"):
        queue.start_workers(Crew, num=0)
    with pytest.raises(ValueError, match="rebuild"):
        queue.start_workers(Crew, num=1, rebuild="sometimes")
    with pytest.raises(ValueError, match="max_restarts"):
        queue.start_workers(Crew, num=1, ray_options={"max_restarts": 3})
    with pytest.raises((ValueError, TypeError), match="num_cpu"):
        queue.start_workers(Crew, num=1, ray_options={"num_cpu": 3})
    with pytest.raises(honeydew.PayloadError, match="Crew"):
        queue.start_workers(Crew, (x for x in ()), num=1)  # type: ignore[arg-type]
    assert queue.name not in honeydew.workers()


def test_a_rebuild_under_way_when_the_group_dies_is_not_forgotten(
    new_queue: Start, tmp_path: Path, new_signal: Callable[[], Signal]
) -> None:
    queue = new_queue()
    entered, go_on = new_signal(), new_signal()
    queue.start_workers(WaitsToRebuild, str(tmp_path / "mark"), entered, go_on, num=1)
    with pytest.raises(honeydew.JobAbandoned):
        queue.submit("die", "raise").result(timeout=30)
    entered.wait()  # the state is being made anew
    ray.kill(ray.get_actor(names.group_actor(queue.name, "default"), namespace=names.NAMESPACE), no_restart=False)
    go_on.send()
    assert queue.submit("add", 1).result(timeout=60) == 1


def test_stopping_workers_while_the_queue_restarts_still_lets_the_job_finish(
    new_queue: Start, new_signal: Callable[[], Signal], tmp_path: Path
) -> None:
    queue = new_queue("durable-stop", store=honeydew.SQLiteStore(tmp_path / "jobs.db"))
    queue.start_workers(Crew, num=1, shutdown_s=30)
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    started.wait()
    died = queue.status().pid
    assert died is not None
    os.kill(died, signal.SIGKILL)
    stopper = threading.Thread(target=queue.stop_workers)
    stopper.start()
    while queue.status().pid == died:
        pass
    finish.send("finished")
    assert job.result(timeout=30) == "finished"
    stopper.join()
