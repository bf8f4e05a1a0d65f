"""What people see of a live queue: HTML, the live view, bars, interrupts; and a class that is replaced."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import honeydew_ray as honeydew
from tests.cluster.crew import Crew, double
from tests.cluster.signals import Signal

NewQueue = Callable[..., honeydew.Queue]
NewSignal = Callable[[], Signal]


def test_queues_and_jobs_show_themselves(new_queue: NewQueue) -> None:
    queue = new_queue("shown")
    queue.start_workers(Crew, num=1)
    job = queue.options(job_id="<b>j1</b>").submit("add", 2)
    assert job.wait(30)
    for html in (queue._repr_html_(), queue.status()._repr_html_()):
        assert "queue shown" in html and "default/0" in html and "MemoryStore" in html
    assert "&lt;b&gt;j1&lt;/b&gt;" in job._repr_html_() and "done" in job._repr_html_()
    waiting = queue.options(delay_s=3600).submit("add", "<i>2</i>")
    assert "&lt;i&gt;2&lt;/i&gt;" in waiting._repr_html_() and "delayed" in waiting._repr_html_()
    assert "does not know job" in queue.job("nope")._repr_html_()
    queue.stop()
    assert "gone" in queue._repr_html_() and "gone" in waiting._repr_html_()


def test_a_queue_that_does_not_answer_holds_up_no_display(new_queue: NewQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = new_queue("mute")
    job = queue.options(delay_s=3600).submit("add", 1)
    pid = queue.status().pid
    assert pid is not None
    monkeypatch.setattr("honeydew_ray.queue._LOOK_TIMEOUT_S", 0.2)
    monkeypatch.setattr("honeydew_ray.job_handle._LOOK_TIMEOUT_S", 0.2)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "did not answer status within 0.2 s" in queue._repr_html_()
        assert "did not answer describe within 0.2 s" in job._repr_html_()
        view = queue.watch(interval_s=0.01)
        assert view.join(30)
        assert "did not answer" in view.html
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_live_view_sees_jobs_being_done_and_the_end_of_the_queue(new_queue: NewQueue, new_signal: NewSignal) -> None:
    queue = new_queue("watched")
    queue.start_workers(Crew, num=1)
    view = queue.watch(interval_s=0.02)
    job = queue.options(job_id="held").submit("hold", started := new_signal(), release := new_signal())
    started.wait()
    while "held" not in view.html:
        assert not view.join(0.02), "the view has stopped"
    release.send()
    job.result(timeout=30)
    while "held" in view.html:
        assert not view.join(0.02), "the view has stopped"
    queue.stop()
    assert view.join(30)
    assert "gone" in view.html


def test_bars_of_jobs_and_of_map(new_queue: NewQueue, capsys: pytest.CaptureFixture[str]) -> None:
    queue = new_queue("barred", suspended=True)
    queue.start_workers(Crew, num=2)
    jobs = queue.submit_many("add", range(20))
    bad = queue.submit("die", "raise")
    found = queue.filter()
    assert len(found) == 21
    queue.resume()
    queue.progress_bar(found)
    assert all(job.done() for job in [*jobs, bad])
    assert "21/21 jobs, 1 failed" in capsys.readouterr().err.splitlines()[-1]
    queue.progress_bar([])
    with pytest.raises(honeydew.JobNotFound, match="does not know 1 of the jobs, such as nope"):
        queue.progress_bar([jobs[0], queue.job("nope")])
    assert list(queue.map(double, range(30), progress=True)) == [2 * n for n in range(30)]
    assert "30/30 jobs" in capsys.readouterr().err.splitlines()[-1]
    assert list(queue.map(double, (n for n in range(3)), progress=True)) == [0, 2, 4]
    assert " 3 jobs," in capsys.readouterr().err.splitlines()[-1]


WAITS: dict[str, Callable[[honeydew.Queue, honeydew.Job[Any]], Any]] = {
    "result": lambda _, job: job.result(),
    "progress_bar": lambda queue, job: queue.progress_bar([job]),
    "map": lambda queue, _: list(queue.map("add", [1])),
}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """An interrupt counts, though a shell has what it runs in the background ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_the_jobs_running_and_says_where_they_are(new_queue: NewQueue, new_signal: NewSignal) -> None:
    queue = new_queue("interrupted")
    queue.start_workers(Crew, num=1)
    job = queue.options(job_id="long").submit("hold", started := new_signal(), release := new_signal())
    started.wait()
    for wait in WAITS.values():
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))  # as the notebook's stop button does
        timer.start()
        with pytest.raises(KeyboardInterrupt, match='get_queue\\("interrupted"\\)'):
            wait(queue, job)
        timer.join()
        assert job.state is honeydew.JobState.IN_PROGRESS
    release.send()
    assert honeydew.get_queue("interrupted").job("long").wait(30)


def make_class(answer: str) -> type[Any]:
    class Redefined:
        def ask(self) -> str:
            return answer

        def hold(self, started: Signal, finish: Signal) -> str:
            started.send()
            finish.wait()
            return answer

    return Redefined


def test_a_class_that_was_redefined_replaces_the_old_one(new_queue: NewQueue, new_signal: NewSignal, tmp_path: Path) -> None:
    queue = new_queue()
    queue.start_workers(make_class("old"), num=1)
    assert queue.submit("ask").result(timeout=30) == "old"
    held = queue.submit("hold", started := new_signal(), release := new_signal())
    started.wait()
    waiting = queue.submit("ask")
    with pytest.raises(honeydew.WorkersAlreadyStarted, match="replace=True"):
        queue.start_workers(make_class("new"), num=1)
    with pytest.raises(ValueError, match="replace"):
        queue.start_workers(make_class("new"), num=1, replace="yes")  # type: ignore[arg-type]
    threading.Timer(0.2, release.send).start()
    queue.start_workers(make_class("new"), num=2, replace=True)
    assert held.result(timeout=30) == "old"  # it had the time to finish
    assert waiting.result(timeout=30) == "new"
    assert len(queue.status().workers) == 2
    new_queue("fresh").start_workers(make_class("first"), num=1, replace=True)  # nothing to replace is no error


def test_a_replacement_that_cannot_be_leaves_the_old_workers_alone(new_queue: NewQueue) -> None:
    queue = new_queue()
    queue.start_workers(make_class("old"), num=1)
    queue.wait_for_workers(1)
    for wrong in ({"num": 0}, {"ray_options": {"num_cpus": "many"}}, {"ray_options": {"name": "mine"}}):
        with pytest.raises((ValueError, TypeError)):
            queue.start_workers(make_class("new"), replace=True, **wrong)  # type: ignore[arg-type]
    assert queue.submit("ask").result(timeout=30) == "old"
