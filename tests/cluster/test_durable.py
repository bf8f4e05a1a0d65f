"""A durable queue: what it holds outlives its process, its workers' answers find it again, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import honeydew_ray as honeydew
from honeydew_ray import JobState
from tests.cluster.crew import Crew
from tests.cluster.scripts import run_script
from tests.cluster.signals import Signal

Start = Callable[..., honeydew.Queue]
NewSignal = Callable[[], Signal]


@pytest.fixture
def durable(new_queue: Start, tmp_path: Path) -> Start:
    """Starts queues on one file; options as for start_queue."""

    def start(name: str = "durable", **options: object) -> honeydew.Queue:
        return new_queue(name, store=honeydew.SQLiteStore(tmp_path / f"{name}.db"), **options)

    return start


def kill_process_of(queue: honeydew.Queue) -> int:
    process = queue.status().pid
    assert process is not None
    os.kill(process, signal.SIGKILL)
    return process


def test_a_running_job_outlives_its_queues_process_and_runs_once(durable: Start, new_signal: NewSignal) -> None:
    queue = durable()
    queue.start_workers(Crew, num=1)
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    started.wait()
    died = kill_process_of(queue)
    waiting = queue.submit("count")  # during the outage
    status = queue.status()
    assert status.pid != died
    assert job.state is JobState.IN_PROGRESS
    assert waiting.state is JobState.PENDING  # the only worker is busy
    finish.send("once")
    assert job.result(timeout=30) == "once"
    assert job.attempts == 1
    assert waiting.result(timeout=30) == 1
    assert queue.status().in_progress == 0


def test_an_answer_that_came_while_the_queue_was_away_is_collected(durable: Start, new_signal: NewSignal) -> None:
    queue = durable()
    queue.start_workers(Crew, num=2)
    queue.wait_for_workers(2)
    started, finish = new_signal(), new_signal()
    good, bad = queue.submit("hold", started, finish), None
    started.wait()
    os.kill(queue.status().pid or 0, signal.SIGKILL)
    finish.send("while away")  # the job ends before there is a queue to tell
    assert good.result(timeout=30) == "while away"
    assert good.attempts == 1
    bad = queue.submit("die", "raise")
    with pytest.raises(honeydew.JobAbandoned):
        bad.result(timeout=30)


def test_a_worker_that_died_with_the_queue_has_its_job_redelivered(durable: Start, new_signal: NewSignal) -> None:
    queue = durable()  # Abandon: a redelivery must not count as a failure
    queue.start_workers(Crew, num=1)
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    worker = int(started.wait())
    queue.resume()  # a change that is waited for: the claim before it is committed, and its redelivery will be counted
    process = queue.status().pid
    assert process is not None
    os.kill(process, signal.SIGSTOP)  # so that it cannot see the worker die
    os.kill(worker, signal.SIGKILL)
    os.kill(process, signal.SIGKILL)
    started.wait()
    finish.send("second time")
    assert job.result(timeout=60) == "second time"
    assert job.attempts == 2


def test_waiting_jobs_flags_and_counts_survive_a_kill(durable: Start) -> None:
    queue = durable(suspended=True, failure_mode=honeydew.Retry(times=3))
    pending = queue.submit_many("add", range(100))
    urgent = queue.options(priority=9).submit("add", 1000)
    delayed = queue.options(delay_s=3600).submit("add", 1)
    before = queue.status()
    kill_process_of(queue)
    after = queue.status()
    assert (after.pending, after.delayed, after.suspended) == (before.pending, before.delayed, True) == (101, 1, True)
    assert queue.filter(state="pending") in ([urgent, *pending], [*pending, urgent])
    assert queue.filter(state="delayed") == [delayed]
    queue.start_workers(Crew, num=2)
    queue.wait_for_workers(2)
    assert queue.status().in_progress == 0
    queue.resume()
    assert [job.result(timeout=30) for job in pending] == list(range(100))
    assert urgent.started_at < pending[-1].started_at


def test_a_stopped_queue_carries_on_from_its_file(durable: Start) -> None:
    queue = durable(failure_mode=honeydew.Abandon())
    queue.start_workers(Crew, num=1)
    dead = queue.submit("die", "raise")
    with pytest.raises(honeydew.JobAbandoned):
        dead.result(timeout=30)
    queue.suspend()
    jobs = queue.submit_many("add", range(5))
    delayed = queue.options(delay_s=3600).submit("add", 1)
    queue.stop()
    again = durable()
    assert again.status().suspended
    assert [job.id for job in again.filter(state="pending")] == [job.id for job in jobs]
    assert [job.id for job in again.filter(state="delayed")] == [delayed.id]
    assert [job.id for job in again.filter(state="abandoned")] == [dead.id]
    again.start_workers(Crew, 10, num=1)
    again.resume()
    assert [again.job(job.id).result(timeout=30) for job in jobs] == [10, 11, 12, 13, 14]


def test_a_job_that_is_never_finished_ends_as_poison(durable: Start, new_signal: NewSignal) -> None:
    queue = durable(max_redeliveries=2, failure_mode=honeydew.Abandon())
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    for turn in range(3):
        queue.start_workers(Crew, num=1, shutdown_s=0)
        started.wait()
        queue.stop_workers()
        if turn == 1:
            kill_process_of(queue)  # the count survives
    with pytest.raises(honeydew.JobAbandoned) as caught:
        job.result(timeout=30)
    assert caught.value.kind == "poison"
    assert caught.value.attempts == 3


def test_a_dead_job_can_be_submitted_again(durable: Start, tmp_path: Path) -> None:
    queue = durable(failure_mode=honeydew.Retry(times=1))
    queue.start_workers(Crew, num=1)
    mark = tmp_path / "mark"
    job = queue.submit("die_unless", str(mark))
    with pytest.raises(honeydew.JobAbandoned):
        job.result(timeout=30)
    kill_process_of(queue)
    mark.touch()
    [found] = queue.filter(state="abandoned")
    assert found == job
    assert found.retry().result(timeout=30) == "alive"
    assert job.result(timeout=30) == "alive"
    assert queue.status().abandoned == 0
    with pytest.raises(honeydew.JobNotFound):
        job.retry()


def test_large_arguments_and_results_survive(durable: Start) -> None:
    np = pytest.importorskip("numpy")
    queue = durable()
    array = np.arange(500_000, dtype=np.float64)
    job = queue.submit("give", array)
    kill_process_of(queue)
    queue.start_workers(Crew, num=1)
    assert np.array_equal(job.result(timeout=30), array)


def test_two_queues_cannot_share_a_file(durable: Start, new_queue: Start, tmp_path: Path) -> None:
    durable("one")
    with pytest.raises(honeydew.StoreError, match=r"one\.db"):
        new_queue("two", store=honeydew.SQLiteStore(tmp_path / "one.db"))
    assert "two" not in honeydew.queues()


POINTS = ["enq.pre_commit", "enq.post_commit", "disp.post_reserve", "disp.post_send", "ack.pre_commit", "ack.post_commit"]


@pytest.mark.parametrize("point", POINTS)
def test_the_queue_killed_at_each_step_loses_nothing(durable: Start, tmp_path: Path, point: str) -> None:
    once, journal = tmp_path / "once", tmp_path / "journal"
    environment = {"HONEYDEW_FAILPOINTS": f"{point}=kill@5", "HONEYDEW_FAILPOINTS_ONCE": str(once)}
    queue = durable(ray_options={"runtime_env": {"env_vars": environment}})
    queue.start_workers(Crew, num=2)
    queue.wait_for_workers(2)
    jobs = [queue.submit("log", str(journal), number) for number in range(20)]
    for job in jobs:
        job.result(timeout=60)
    assert once.exists(), "the failpoint was not hit"
    runs = Counter(journal.read_text().split())
    assert set(runs) == {str(number) for number in range(20)}
    assert sum(runs.values()) <= 20 + 2  # at most the jobs in hand at the kill may run again
    status = queue.status()
    assert (status.pending, status.in_progress) == (0, 0)


@pytest.mark.timeout(400)
def test_thirty_kills_under_load_lose_nothing(durable: Start, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    queue = durable()
    queue.start_workers(Crew, num=4)
    queue.wait_for_workers(4)
    acknowledged: list[honeydew.Job[object]] = []
    done = threading.Event()

    def produce() -> None:
        while not done.is_set():
            acknowledged.append(queue.submit("log", str(journal), len(acknowledged)))

    producer = threading.Thread(target=produce)
    producer.start()
    chance = random.Random(7)
    for _ in range(30):
        target = len(acknowledged) + chance.randrange(5, 60)
        while len(acknowledged) < target:
            assert producer.is_alive()
            time.sleep(0.001)
        kill_process_of(queue)
    done.set()
    producer.join()
    for job in acknowledged:
        job.result(timeout=60)
    runs = Counter(int(line) for line in journal.read_text().split())
    assert set(runs) == set(range(len(acknowledged)))
    again = sum(count - 1 for count in runs.values())
    assert again == 0, f"{again} jobs ran twice though no worker was killed"
    status = queue.status()
    assert (status.pending, status.in_progress, status.abandoned) == (0, 0, 0)


def test_the_whole_cluster_may_stop_and_start_again(tmp_path: Path) -> None:
    script = Path(__file__).with_name("carry_on.py")
    before = run_script(script, "first", tmp_path)  # Ray ends with it, and takes queue and worker along
    assert before.code == 0, before
    after = run_script(script, "second", tmp_path)
    assert after.code == 0, after
    assert after.output.splitlines()[-5:] == [
        "suspended True pending 4 delayed 1",
        "line pending-2 pending-1 running pending-0",
        "redelivered 1",
        "results held 0 1 2",
        "attempts 2",
    ], after
    assert (tmp_path / "started").read_text().splitlines() == ["started"] * 2


def test_killed_between_the_two_halves_of_a_move_the_job_is_in_one_queue(durable: Start, new_queue: Start, tmp_path: Path) -> None:
    once = tmp_path / "once"
    environment = {"HONEYDEW_FAILPOINTS": "move.between=kill", "HONEYDEW_FAILPOINTS_ONCE": str(once)}
    letters = new_queue("dead-letters")
    queue = durable(failure_mode=honeydew.Move("dead-letters"), ray_options={"runtime_env": {"env_vars": environment}})
    queue.start_workers(Crew, num=1)
    job = queue.submit("die", "raise")
    with pytest.raises(honeydew.JobMoved):
        job.result(timeout=60)
    assert once.exists(), "the failpoint was not hit"
    assert letters.filter() == [letters.job(job.id)]
    assert queue.filter() == []


def test_a_file_that_went_missing_is_refused_and_not_made_anew(durable: Start, tmp_path: Path) -> None:
    queue = durable()
    queue.submit("add", 1)
    process = queue.status().pid
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    for file in tmp_path.glob("durable.db*"):
        file.unlink()
    os.kill(process, signal.SIGKILL)
    with pytest.raises(honeydew.StoreError, match=r"durable\.db is missing"):
        queue.status()
    assert not (tmp_path / "durable.db").exists()


def test_a_queue_that_lost_its_node_refuses_and_says_what_to_do(tmp_path: Path) -> None:
    finished = run_script(Path(__file__).with_name("lost_node.py"), tmp_path)
    assert finished.code == 0, str(finished)
    lines = [line for line in finished.output.splitlines() if line.startswith(("result", "calls", "queues", "carried"))]
    assert lines == [
        "result QueueLost its store keeps its jobs", "calls" + " QueueNotFound" * 4, "queues none", "carried on with 1",
    ], str(finished)


@pytest.mark.parametrize("said", [True, False])
def test_what_was_said_at_the_start_does_not_undo_suspend_and_resume_when_the_process_dies(durable: Start, said: bool) -> None:
    queue = durable(suspended=said)
    queue.resume() if said else queue.suspend()
    kill_process_of(queue)
    assert queue.status().suspended is not said


def test_a_queue_whose_file_is_gone_can_be_stopped_and_begun_anew(durable: Start, tmp_path: Path) -> None:
    queue = durable()
    process = queue.status().pid
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    for file in tmp_path.glob("durable.db*"):
        file.unlink()
    os.kill(process, signal.SIGKILL)
    with pytest.raises(honeydew.StoreError, match="missing"):
        queue.stop()
    assert queue.name not in honeydew.queues()
    assert durable().status().pending == 0


def test_a_long_job_outlives_many_restarts_of_its_queue(durable: Start, new_signal: NewSignal) -> None:
    queue = durable()
    queue.start_workers(Crew, num=1)
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    started.wait()
    for _ in range(10):
        kill_process_of(queue)
    assert job.state is JobState.IN_PROGRESS
    finish.send("still there")
    assert job.result(timeout=60) == "still there"
    assert job.attempts == 1
