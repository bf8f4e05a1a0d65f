"""What a client's process knows of jobs, without a queue."""

from __future__ import annotations

from typing import Any

import pytest

from honeydew_ray import queue as queue_module
from honeydew_ray.actors import client as client_module
from honeydew_ray.actors.client import QueueClient
from honeydew_ray.errors import EnqueueUncertain, JobNotFound, QueueLost, WorkersNotFound
from honeydew_ray.protocol import QueueInfo
from honeydew_ray.shipper import Shipper, SubmitOptions
from honeydew_ray.task import task_of


class Client(QueueClient):
    """Of a queue that knows the jobs ``known``."""

    def __init__(self, *known: str) -> None:
        super().__init__("photos", None, QueueInfo("first", durable=False))
        self._jobs = known
        self.asked: list[int] = []  # about how many jobs, call by call

    def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        assert method == "expect"
        self.asked.append(len(args[0]))
        return [job_id for job_id in args[0] if job_id not in self._jobs]

    def _start_polling(self) -> None: ...

    def deliver(self, *_: Any) -> Any:
        return Unanswered()


class Unanswered:
    """A delivery that may have arrived or not."""

    def confirm(self) -> None:
        raise EnqueueUncertain("the queue did not answer")


def test_a_job_that_another_thread_waits_for_and_that_never_arrived_is_not_found() -> None:
    client = Client("there")
    never = client.expect("never"), client.expect("there")  # held by those who submit them, or ask for them at this moment
    with pytest.raises(JobNotFound, match="does not know job never"):
        client.follow("never")
    with pytest.raises(JobNotFound, match="such as never"):
        client.follow_all(["there", "never"])
    assert client.follow("there") is never[1]
    assert client.follow_all(["there"]) == [never[1]]


def test_a_job_that_was_lost_is_asked_for_anew() -> None:
    client = Client("job")
    lost = client.follow("job")
    client._waiters.lose(QueueLost("its queue died"))
    waiter = client.follow("job")  # somebody submitted it again
    assert waiter is not lost
    assert not waiter.settled


def test_who_waits_when_this_process_has_let_go_of_the_queue_is_told_at_once() -> None:
    client = Client("job")
    client._poll.stop()
    waiter = client.expect("job")
    assert "nobody waits for queue 'photos' in this process any more" in str(waiter.lost)


def test_the_handle_on_a_job_that_may_never_have_arrived_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module.ray, "is_initialized", lambda: True, raising=False)
    client = Client("there")
    lost, there = (Shipper(client, SubmitOptions(job_id=job_id)) for job_id in ("lost", "there"))
    for shipper in lost, there:
        with pytest.raises(EnqueueUncertain) as caught:
            shipper.send([shipper.pack(task_of(len), ("a",), {})]).confirmed()
        job = caught.value.job
        if shipper is lost:
            with pytest.raises(JobNotFound):
                job.wait(0)
        else:
            assert not job.wait(0)


def test_many_jobs_are_followed_with_a_call_for_every_thousand() -> None:
    client = Client(*map(str, range(2001)))
    assert len(client.follow_all([str(number) for number in range(2001)])) == 2001
    assert client.asked == [1000, 1000, 1]
    with pytest.raises(JobNotFound, match="does not know 1001 of the jobs, such as -1,"):
        client.follow_all([str(-number) for number in range(1002)])


def test_who_waits_by_a_callback_hears_that_the_connection_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("job")
    waiter = client.follow("job")
    told: list[bool] = []
    client.when_settled(waiter, lambda: told.append(True))
    monkeypatch.setattr(client_module, "_LOOK_S", 0.01)
    monkeypatch.setattr(client_module.ray, "is_initialized", lambda: False, raising=False)
    assert client.wait(waiter, 10.0)
    assert isinstance(waiter.lost, QueueLost)
    assert told == [True]


def test_a_wait_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("job")
    monkeypatch.setattr(client_module.ray, "is_initialized", lambda: True, raising=False)
    assert not client.wait(client.follow("job"), 0.01)


def test_a_group_that_somebody_else_stops_meanwhile_does_not_keep_its_queue_from_being_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Closing(Client):
        def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
            asked.append(method)

        def finish(self) -> None: ...

    def stop_workers(queue: str, group: str) -> None:
        asked.append(group)
        raise WorkersNotFound(f"no worker group {group!r}")

    monkeypatch.setattr(queue_module.cluster, "actor_names", lambda: ["workers/photos/default", "workers/photos/more"])
    monkeypatch.setattr(queue_module.cluster, "end_actor", lambda *_: asked.append("end"))
    monkeypatch.setattr(queue_module, "stop_workers", stop_workers)
    queue_module.Queue(Closing()).stop()
    assert asked == ["default", "more", "close", "end"]
