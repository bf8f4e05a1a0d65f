"""Submitting jobs and getting their results, on real workers."""

from __future__ import annotations

import asyncio
import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import honeydew_ray as honeydew
from honeydew_ray import JobState
from tests.cluster.crew import Crew, base_of_worker, double
from tests.cluster.signals import Signal

Start = Callable[..., honeydew.Queue]


@pytest.fixture
def crew(new_queue: Start) -> honeydew.Queue:
    queue = new_queue()
    queue.start_workers(Crew, 10, num=2)
    return queue


def test_a_method_by_name(crew: honeydew.Queue) -> None:
    job = crew.submit("add", 5)
    assert job.result(timeout=30) == 15
    assert job.state is JobState.DONE
    assert job.attempts == 1
    assert job.enqueued_at <= job.started_at <= job.completed_at
    assert job.last_error is None


def test_an_unbound_method(crew: honeydew.Queue) -> None:
    assert crew.submit(Crew.add, 1).result(timeout=30) == 11
    assert crew.submit(Crew.add, value=2).result(timeout=30) == 12


def test_functions_of_every_sort(crew: honeydew.Queue) -> None:
    assert crew.submit(math.sqrt, 4).result(timeout=30) == 2
    assert crew.submit(double, 4).result(timeout=30) == 8
    assert crew.submit(lambda x: x + 1, 4).result(timeout=30) == 5
    assert crew.submit(str.upper, "honey").result(timeout=30) == "HONEY"


def test_a_function_reaches_the_state_of_its_worker(crew: honeydew.Queue) -> None:
    assert crew.submit(base_of_worker).result(timeout=30) == 10


def test_workers_without_a_class_run_functions(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(num=1)
    assert queue.submit(double, 21).result(timeout=30) == 42
    assert queue.submit(honeydew.current_worker).result(timeout=30) is None
    with pytest.raises(honeydew.UnknownMethod, match="plain functions"):
        queue.submit("double", 21)


def test_submit_many_keeps_order_and_takes_several_iterables(crew: honeydew.Queue) -> None:
    jobs = crew.submit_many("add", range(1200))
    assert [job.result(timeout=60) for job in jobs] == [10 + value for value in range(1200)]
    assert [job.result(timeout=30) for job in crew.submit_many(math.pow, [2, 3], [3, 2])] == [8, 9]
    assert crew.submit_many("add", []) == []


def test_map_yields_in_order_from_an_endless_iterator(crew: honeydew.Queue) -> None:
    taken: list[int] = []

    def numbers() -> Any:
        for number in itertools.count():
            taken.append(number)
            yield number

    results = crew.map("add", numbers(), window=50)
    assert list(itertools.islice(results, 200)) == [10 + value for value in range(200)]
    assert len(taken) <= 200 + 50


def test_map_raises_at_the_turn_of_the_job_that_failed(crew: honeydew.Queue) -> None:
    results = crew.map(math.sqrt, [4, -1, 9])
    assert next(results) == 2
    with pytest.raises(honeydew.JobAbandoned, match="ValueError") as caught:
        next(results)
    assert isinstance(caught.value.__cause__, ValueError)


def test_await_a_job(crew: honeydew.Queue) -> None:
    async def three() -> list[int]:
        return list(await asyncio.gather(*(crew.submit("add", value) for value in range(3))))

    assert asyncio.run(three()) == [10, 11, 12]


def test_any_process_may_wait(crew: honeydew.Queue) -> None:
    job = crew.submit("add", 1)
    assert honeydew.get_queue(crew.name).job(job.id).result(timeout=30) == 11
    there = crew.submit(result_of, crew.name, job.id)  # a worker is another process
    assert there.result(timeout=30) == 11


def result_of(queue: str, job_id: str) -> Any:
    return honeydew.get_queue(queue).job(job_id).result(timeout=30)


def test_handles_travel(crew: honeydew.Queue) -> None:
    job = crew.submit("add", 1)
    assert pickle.loads(pickle.dumps(job)).result(timeout=30) == 11
    assert pickle.loads(pickle.dumps(crew)).name == crew.name
    assert crew.submit(submit_to, crew).result(timeout=30) == "pending"


def submit_to(queue: honeydew.Queue) -> str:
    return str(queue.options(delay_s=0).submit("add", 1).state.value).replace("in_progress", "pending").replace("done", "pending")


def test_one_id_is_one_job(crew: honeydew.Queue) -> None:
    first = crew.options(job_id="order-7").submit("count")
    again = crew.options(job_id="order-7").submit("count")
    assert first.result(timeout=30) == again.result(timeout=30)
    after = crew.options(job_id="order-7").submit("count")
    assert after.result(timeout=30) == first.result(timeout=30)


def test_a_result_that_nobody_asked_for(crew: honeydew.Queue) -> None:
    job = crew.options(reply=False).submit("add", 1)
    with pytest.raises(honeydew.ReplyNotRequested):
        job.result()


def test_delay_and_priority(new_queue: Start, tmp_path: Any, new_signal: Callable[[], Signal]) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    started, finish = new_signal(), new_signal()
    journal = str(tmp_path / "journal")
    queue.submit("hold", started, finish)
    started.wait()
    last = queue.submit("log", journal, "ordinary")
    queue.options(priority=5).submit("log", journal, "urgent")
    queue.options(priority=-5).submit("log", journal, "whenever")
    delayed = queue.options(delay_s=3).submit("log", journal, "delayed")
    assert delayed.state is JobState.DELAYED
    assert queue.status().delayed == 1
    assert queue.status().pending == 3
    finish.send()
    last.result(timeout=30)
    delayed.result(timeout=30)
    assert delayed.started_at - delayed.enqueued_at >= 3
    with open(journal) as file:
        assert file.read().split() == ["urgent", "ordinary", "whenever", "delayed"]


def test_result_times_out_and_the_job_goes_on(crew: honeydew.Queue, new_signal: Callable[[], Signal]) -> None:
    started, finish = new_signal(), new_signal()
    job = crew.submit("hold", started, finish)
    started.wait()
    with pytest.raises(TimeoutError, match="has not ended within 0.05 s"):
        job.result(timeout=0.05)
    assert not job.done()
    finish.send("late")
    assert job.result(timeout=30) == "late"
    assert job.done()


def test_unknown_jobs_and_queues(crew: honeydew.Queue) -> None:
    with pytest.raises(honeydew.JobNotFound):
        crew.job("never").result(timeout=1)
    with pytest.raises(honeydew.JobNotFound):
        _ = crew.job("never").state
    with pytest.raises(honeydew.QueueNotFound, match=crew.name):
        honeydew.get_queue("never")


def test_a_full_queue_makes_submit_wait_or_raise(new_queue: Start, new_signal: Callable[[], Signal]) -> None:
    queue = new_queue(max_pending=2, suspended=True)
    jobs = queue.submit_many(math.sqrt, [1.0, 4.0])
    with pytest.raises(honeydew.QueueFull, match="max_pending=2"):
        queue.options(when_full="raise").submit(math.sqrt, 9.0)
    with pytest.raises(honeydew.QueueFull):
        queue.options(submit_timeout_s=0.5).submit(math.sqrt, 9.0)
    assert queue.status().pending == 2
    queue.start_workers(num=1)
    queue.resume()
    assert [job.result(timeout=60) for job in [*jobs, *queue.submit_many(math.sqrt, [float(n) for n in range(20)])]][:3] == [1.0, 2.0, 0.0]
