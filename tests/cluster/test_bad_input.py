"""What cannot travel, what does not exist, and user code that fails where it must not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import honeydew_ray as honeydew
from honeydew_ray import Decision, Discard, Failure, JobRecord
from honeydew_ray.errors import WorkerTraceback
from tests.cluster.crew import Crew, Spoiler

Start = Callable[..., honeydew.Queue]


def test_an_argument_that_cannot_be_pickled_fails_at_the_caller(new_queue: Start) -> None:
    queue = new_queue()
    with pytest.raises(honeydew.PayloadError, match="'give' cannot be pickled"):
        queue.submit("give", threading.Lock())
    with pytest.raises(honeydew.PayloadError):
        queue.submit_many("give", [1, threading.Lock()])
    assert queue.status().pending == 0


def test_a_result_that_cannot_be_pickled_fails_the_job_and_not_the_worker(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Spoiler, num=1)
    worker = queue.submit("pid").result(timeout=30)
    with pytest.raises(honeydew.JobAbandoned, match="the job's result cannot be pickled") as caught:
        queue.submit("lock").result(timeout=30)
    assert caught.value.kind == "exception"
    assert "lock" in caught.value.message
    assert queue.submit("pid").result(timeout=30) == worker


@pytest.mark.parametrize(
    ("method", "class_name", "message"),
    [
        ("raise_unpicklable", "tests.cluster.crew.Unpicklable", "it holds a lock"),
        ("raise_unbuildable", "tests.cluster.crew.Unbuildable", "one and two"),
        ("raise_mute", "tests.cluster.crew.Mute", "__str__ raised RuntimeError"),
    ],
)
def test_an_exception_that_cannot_travel_is_told_as_text(new_queue: Start, method: str, class_name: str, message: str) -> None:
    queue = new_queue()
    queue.start_workers(Spoiler, num=1)
    with pytest.raises(honeydew.JobAbandoned) as caught:
        queue.submit(method).result(timeout=30)
    assert caught.value.class_name == class_name
    assert message in caught.value.message
    assert method in caught.value.traceback
    if method != "raise_mute":  # that one pickles well
        assert isinstance(caught.value.__cause__, WorkerTraceback)


def test_a_method_the_class_does_not_have(new_queue: Start) -> None:
    queue = new_queue()
    early = queue.submit("fly")  # no workers yet, so nobody can know
    queue.start_workers(Crew, num=1)
    with pytest.raises(honeydew.JobAbandoned, match="fly") as caught:
        early.result(timeout=30)
    assert caught.value.class_name == "AttributeError"
    with pytest.raises(honeydew.UnknownMethod, match=r"no worker has a method 'fly'; its workers run Crew"):
        queue.submit("fly")
    with pytest.raises(TypeError, match="a method's name"):
        queue.submit(42)  # type: ignore[call-overload]
    assert queue.status().pending == 0


def test_queues_have_one_name_each(new_queue: Start) -> None:
    queue = new_queue()
    with pytest.raises(honeydew.QueueAlreadyStarted, match=queue.name):
        honeydew.start_queue(queue.name)
    with pytest.raises(ValueError, match="letters, digits"):
        honeydew.start_queue("no/slashes")
    with pytest.raises(TypeError, match="not the class"):
        honeydew.start_queue("x", failure_mode=honeydew.Abandon)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="MemoryStore"):
        honeydew.start_queue("x", store="memory")  # type: ignore[arg-type]
    assert "x" not in honeydew.queues()


@pytest.mark.parametrize(
    "options",
    [{"delay_s": -1}, {"priority": "high"}, {"timeout_s": 0}, {"job_id": ""}, {"delay_s": float("nan")}, {"submit_timeout_s": 0}],
)
def test_bad_options(new_queue: Start, options: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        new_queue().options(**options)  # type: ignore[arg-type]


class Broken(honeydew.FailureMode):
    """A failure mode with a fault of its own."""

    def decide(self, job: JobRecord, failure: Failure) -> Decision:
        raise LookupError("the mode is broken")


class Thoughtful(honeydew.FailureMode):
    """Looks at the job's arguments and at what it noted before."""

    def decide(self, job: JobRecord, failure: Failure) -> Decision:
        if job.private == "once" or job.args[0] != "raise":
            return Discard()
        return honeydew.Requeue(private="once")


class Journal(honeydew.SuccessMode):
    """Writes successes down, but for one that it chokes on."""

    def __init__(self, path: str) -> None:
        self.path = path

    def succeeded(self, job: JobRecord) -> None:
        if job.value() == 3:
            raise RuntimeError("three is too much")
        assert job.started_at is not None and job.completed_at is not None
        with Path(self.path).open("a") as file:
            file.write(f"{job.method} {job.value()} {job.enqueued_at <= job.started_at <= job.completed_at}\n")


def test_a_failure_mode_that_raises(new_queue: Start) -> None:
    queue = new_queue(failure_mode=Broken())
    queue.start_workers(Crew, num=1)
    job = queue.submit("die", "raise")
    with pytest.raises(honeydew.JobAbandoned) as caught:
        job.result(timeout=30)
    assert "raised on purpose" in caught.value.message
    assert "the mode is broken" in caught.value.message
    assert "LookupError" in caught.value.traceback
    assert queue.filter(state="abandoned") == [job]


def test_a_failure_mode_of_the_users_own(new_queue: Start) -> None:
    queue = new_queue(failure_mode=Thoughtful())
    queue.start_workers(Crew, num=1)
    with pytest.raises(honeydew.JobAbandoned) as caught:
        queue.submit("die", "raise").result(timeout=30)
    assert caught.value.attempts == 2


def test_a_retry_function_of_the_users_own(new_queue: Start) -> None:
    def patient(job: JobRecord, failure: Failure, mode: honeydew.Retry) -> honeydew.Requeue | None:
        tries = (job.private or 0) + 1
        return honeydew.Requeue(delay_s=0.01, private=tries) if tries < 4 and failure.class_name == "ValueError" else None

    queue = new_queue(failure_mode=honeydew.Retry(fun=patient))
    queue.start_workers(Crew, num=1)
    with pytest.raises(honeydew.JobAbandoned) as caught:
        queue.submit("die", "raise").result(timeout=30)
    assert caught.value.attempts == 4


def test_a_success_mode_is_told_and_may_raise(new_queue: Start, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    queue = new_queue(success_mode=Journal(str(journal)))
    queue.start_workers(Crew, num=1)
    assert [job.result(timeout=30) for job in queue.submit_many("add", [1, 2, 3, 4])] == [1, 2, 3, 4]
    queue.stop(drain=True)  # what is told before the end was told in order
    assert journal.read_text().splitlines() == ["add 1 True", "add 2 True", "add 4 True"]


class Stubborn(honeydew.LRU):
    """A dispatcher with a fault of its own: it raises on every other choice."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def check_out(self, job: JobRecord) -> honeydew.WorkerRef | None:
        self.asked += 1
        if self.asked % 2:
            raise LookupError("the dispatcher is broken")
        return super().check_out(job)


def test_a_dispatcher_that_raises_loses_no_job(new_queue: Start) -> None:
    queue = new_queue(dispatcher=Stubborn())
    queue.start_workers(Crew, num=2)
    jobs = [queue.submit("add", value) for value in range(20)]
    queue.submit("add", 0)
    assert [job.result(timeout=30) for job in jobs] == list(range(20))


@pytest.mark.parametrize("dispatcher", [honeydew.LRU(), honeydew.MRU(), honeydew.LRUNode()], ids=lambda d: type(d).__name__)
def test_every_dispatcher_works_through(new_queue: Start, dispatcher: honeydew.Dispatcher) -> None:
    queue = new_queue(dispatcher=dispatcher)
    queue.start_workers(Crew, num=3)
    assert sum(queue.map("add", range(300))) == sum(range(300))
