"""Faults that have no other place: a stopped worker, a lost answer, a flood, programs that come and go."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import ray

import honeydew_ray as honeydew
from honeydew_ray import JobState
from honeydew_ray.actors import cluster, names
from tests.cluster.crew import Crew
from tests.cluster.processes import runs
from tests.cluster.signals import Signal

Start = Callable[..., honeydew.Queue]
NewSignal = Callable[[], Signal]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_worker_killed_between_its_job_and_the_answer_runs_it_once_more(new_queue: Start, tmp_path: Path, store: str) -> None:
    once, journal = tmp_path / "once", tmp_path / "journal"
    environment = {"HONEYDEW_FAILPOINTS": "job.post_user=kill@3", "HONEYDEW_FAILPOINTS_ONCE": str(once)}
    kept = {"store": honeydew.SQLiteStore(tmp_path / "jobs.db")} if store == "sqlite" else {}
    queue = new_queue(failure_mode=honeydew.Retry(times=1), **kept)
    queue.start_workers(Crew, num=2, ray_options={"runtime_env": {"env_vars": environment}})
    jobs = [queue.submit("log", str(journal), number) for number in range(12)]
    for job in jobs:
        job.result(timeout=60)
    assert once.exists(), "the failpoint was not hit"
    runs = Counter(int(line) for line in journal.read_text().split())
    assert set(runs) == set(range(12))
    [(again, times)] = [(number, times) for number, times in runs.items() if times > 1]
    assert times == 2
    assert (jobs[again].attempts, sum(job.attempts for job in jobs)) == (2, 13)


def test_a_stopped_worker_is_dead_before_its_job_runs_again(new_queue: Start, new_signal: NewSignal) -> None:
    queue = new_queue(failure_mode=honeydew.Retry(times=1))
    queue.start_workers(Crew, num=2)
    queue.wait_for_workers(2)
    started, finish = new_signal(), new_signal()
    job = queue.options(timeout_s=2).submit("hold", started, finish)
    stopped = int(started.wait())
    os.kill(stopped, signal.SIGSTOP)  # it can neither end its job nor be asked to
    second = int(started.wait())
    assert second != stopped
    assert not runs(stopped)
    finish.send("on another")
    assert job.result(timeout=30) == "on another"
    assert job.last_error is not None and job.last_error.kind == "timeout"


def test_a_stopped_worker_that_goes_on_in_time_is_not_taken_for_dead(new_queue: Start, new_signal: NewSignal) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    stopped = int(started.wait())
    os.kill(stopped, signal.SIGSTOP)
    waiting = queue.submit("pid")
    time.sleep(3.0)  # longer than any patience with a worker, which must not matter
    assert waiting.state is JobState.PENDING
    os.kill(stopped, signal.SIGCONT)
    finish.send("as if nothing had been")
    assert job.result(timeout=30) == "as if nothing had been"
    assert (job.attempts, waiting.result(timeout=30)) == (1, stopped)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_large_result_that_died_with_its_queue_is_told_as_lost(new_queue: Start, tmp_path: Path, store: str) -> None:
    kept = {"store": honeydew.SQLiteStore(tmp_path / "jobs.db")} if store == "sqlite" else {}
    queue = new_queue(**kept)
    queue.start_workers(Crew, num=1)
    job = queue.submit("give", np.zeros(200_000))
    while not job.done():
        time.sleep(0.01)
    os.kill(queue.status().pid or 0, signal.SIGKILL)
    queue.status()
    with pytest.raises(honeydew.QueueLost, match="large"):
        job.result(timeout=30)
    assert job.state is JobState.DONE


def test_stopping_workers_whose_group_has_just_died_leaves_none(new_queue: Start, new_signal: NewSignal) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2, shutdown_s=30)
    queue.wait_for_workers(2)
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    started.wait()
    pids = [worker.pid for worker in queue.status().workers if worker.pid is not None]
    group = ray.get_actor(names.group_actor(queue.name, "default"), namespace=names.NAMESPACE)
    ray.kill(group, no_restart=False)
    stopper = threading.Thread(target=queue.stop_workers)
    stopper.start()
    finish.send("finished")
    stopper.join()
    assert names.workers_among(cluster.actor_names(), queue.name) == []
    assert job.result(timeout=30) == "finished"
    deadline = time.monotonic() + 10
    while any(map(runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(runs, pids))


def test_a_job_that_holds_its_interpreter_is_ended_in_time(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    job = queue.options(timeout_s=0.5).submit("block")
    with pytest.raises(honeydew.JobAbandoned) as caught:
        job.result(timeout=30)
    assert caught.value.kind == "timeout"
    assert queue.submit("add", 1).result(timeout=30) == 1


def test_a_flood_of_progress_holds_up_nobody_and_the_last_word_counts(new_queue: Start, new_signal: NewSignal) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    quiet = sorted(_seconds(queue) for _ in range(30))
    started, finish = new_signal(), new_signal()
    job = queue.submit("publish", list(range(50_000)), started, finish)
    flooded = sorted(_seconds(queue) for _ in range(30))
    started.wait()
    deadline = time.monotonic() + 10
    while job.progress != 49_999 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert job.progress == 49_999
    finish.send()
    job.result(timeout=30)
    assert flooded[15] < 20 * quiet[15] + 0.1, f"a submit took {flooded[15]:.3f} s under the flood, {quiet[15]:.3f} s before"


def _seconds(queue: honeydew.Queue) -> float:
    began = time.perf_counter()
    queue.options(delay_s=3600, reply=False).submit("add", 1)
    return time.perf_counter() - began


STARTER = """
import sys
import honeydew_ray as honeydew
from tests.cluster.crew import Crew
from honeydew_ray.actors import cluster

cluster.connect(sys.argv[1], log_to_driver=False)
queue = honeydew.start_queue(sys.argv[2], store=honeydew.SQLiteStore(sys.argv[3]))
queue.start_workers(Crew, 10, num=1)
queue.wait_for_workers(1)
queue.options(job_id="left behind").submit("hold", *map(honeydew_signal, sys.argv[4:6]))
"""


@pytest.mark.parametrize("how", ["exits", "is killed"])
def test_queue_workers_and_jobs_outlive_the_program_that_started_them(
    ray_cluster: None, new_signal: NewSignal, tmp_path: Path, how: str
) -> None:
    started, finish = new_signal(), new_signal()
    name = f"outlives-{how.replace(' ', '-')}"
    text = STARTER.replace("honeydew_signal", "__import__('tests.cluster.signals').cluster.signals.Signal")
    if how == "is killed":
        text += "print('ready', flush=True); sys.stdin.read()\n"
    with _Program(text, ray.get_runtime_context().gcs_address, name, str(tmp_path / "jobs.db"), started.path, finish.path) as program:
        started.wait()
        if how == "is killed":
            assert program.stdout is not None and "ready\n" in program.stdout
            program.kill()
        assert program.wait(timeout=60) == (0 if how == "exits" else -signal.SIGKILL)
    queue = honeydew.get_queue(name)
    try:
        waiting = queue.submit("add", 1)
        finish.send("held")
        assert queue.job("left behind").result(timeout=30) == "held"
        assert waiting.result(timeout=30) == 11
        assert queue.job("left behind").attempts == 1
        worker = queue.submit("pid").result(timeout=30)
        os.kill(worker, signal.SIGKILL)  # the group lives too
        assert queue.submit("pid").result(timeout=30) != worker
    finally:
        queue.stop()


LEAVER = """
import os
import sys
import ray
import honeydew_ray as honeydew
from honeydew_ray.actors import cluster

cluster.connect(sys.argv[1], log_to_driver=False)
queue = honeydew.get_queue(sys.argv[2])
print("has", queue.submit("add", 1).result(timeout=60), flush=True)
sys.stdin.readline()
print("has", queue.submit("add", 2).result(timeout=60), flush=True)
ray.shutdown()
"""


def test_a_program_may_shut_ray_down_after_its_queue_was_away(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    with contextlib.ExitStack() as stack:
        address = ray.get_runtime_context().gcs_address
        programs = [stack.enter_context(_Program(LEAVER, address, queue.name)) for _ in range(4)]  # Ray does not exit each time
        assert [program.stdout.readline() for program in programs if program.stdout] == ["has 1\n"] * 4
        os.kill(queue.status().pid or 0, signal.SIGKILL)
        queue.status()
        assert [program.communicate("\n", timeout=60)[0] for program in programs] == ["has 2\n"] * 4
        assert [program.returncode for program in programs] == [0] * 4


SUBMITTER = """
import sys
import honeydew_ray as honeydew
from honeydew_ray.actors import cluster

cluster.connect(sys.argv[1], log_to_driver=False)
queue = honeydew.get_queue(sys.argv[2])
number = 0
while True:
    number += 1
    uid = f"{sys.argv[3]}-{number}"
    print("try", uid, flush=True)
    queue.options(job_id=uid, reply=False).submit("log", sys.argv[4], uid)
    print("took", uid, flush=True)
"""


def test_a_program_killed_as_it_submits_leaves_each_job_once_or_not_at_all(new_queue: Start, tmp_path: Path) -> None:
    queue, journal = new_queue(store=honeydew.SQLiteStore(tmp_path / "jobs.db")), tmp_path / "journal"
    queue.start_workers(Crew, num=2)
    chance, programs = random.Random(18), 4
    lines: list[str] = []

    def submit_and_die(number: int, after: int) -> None:
        with _Program(SUBMITTER, ray.get_runtime_context().gcs_address, queue.name, str(number), str(journal)) as program:
            assert program.stdout is not None
            for _ in range(after):
                lines.append(program.stdout.readline())
            program.kill()
            lines.extend(program.stdout)

    killers = [threading.Thread(target=submit_and_die, args=(number, chance.randint(20, 80))) for number in range(programs)]
    for killer in killers:
        killer.start()
    for killer in killers:
        killer.join()
    queue.stop(drain=True, timeout=60)
    tried = {line.split()[1] for line in lines if line.startswith("try ") and line.endswith("\n")}
    taken = {line.split()[1] for line in lines if line.startswith("took ") and line.endswith("\n")}
    runs = Counter(journal.read_text().split())
    assert len(taken) >= programs * 9
    assert taken <= runs.keys() <= tried
    assert set(runs.values()) == {1}
    assert len(tried - taken) <= programs  # each had one under way


class _Program:
    """A program of its own, for as long as the block lasts."""

    def __init__(self, text: str, *arguments: str) -> None:
        self._command = [sys.executable, "-c", text, *arguments]

    def __enter__(self) -> subprocess.Popen[str]:
        self._program = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return self._program

    def __exit__(self, *_: object) -> None:
        self._program.kill()
        self._program.communicate()
