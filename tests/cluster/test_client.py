"""The client's side of a queue, against a queue that answers as slowly as the test wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from honeydew_ray.actors.client import QueueClient
from honeydew_ray.actors.queue_actor import Collected, QueueInfo
from honeydew_ray.errors import QueueLost
from tests.cluster.signals import Signal

Queue = tuple[QueueClient, Signal, Signal, Signal]


class Forgetful:
    """A queue that says it has forgotten its client, and knows no job; it says each once it may."""

    def __init__(self, may_forget: Signal, asked: Signal, may_answer: Signal) -> None:
        self._may_forget = may_forget
        self._asked = asked
        self._may_answer = may_answer
        self._collected = 0

    def collect(self, *_: Any) -> Collected:
        self._collected += 1
        if self._collected == 1:
            self._may_forget.wait()
        else:
            time.sleep(0.1)
        return Collected("first", [], closed=False, forgotten=self._collected == 1)

    def expect(self, job_ids: list[str], _client: str) -> list[str]:
        self._asked.send()
        self._may_answer.wait()
        return job_ids

    def forget(self, _client: str) -> None: ...


@pytest.fixture
def forgetful(ray_cluster: None, new_signal: Callable[[], Signal]) -> Iterator[Queue]:
    signals = new_signal(), new_signal(), new_signal()
    actor = ray.remote(Forgetful).options(num_cpus=0).remote(*signals)  # pyright: ignore
    client = QueueClient("forgetful", actor, QueueInfo("first", durable=False))
    yield client, *signals
    client.close()
    ray.kill(actor)


def test_a_job_that_was_on_its_way_when_its_end_was_asked_for_is_not_given_up(forgetful: Queue) -> None:
    client, may_forget, asked, may_answer = forgetful
    waiter = client.expect("job")
    may_forget.send()
    asked.wait()
    waiter.incarnation = "first"  # the queue takes the job after it was asked, and before its answer is here
    may_answer.send()
    assert not client.wait(waiter, 1.0)
    assert not waiter.settled


def test_a_job_that_the_queue_had_taken_and_knows_no_more_is_lost(forgetful: Queue) -> None:
    client, may_forget, asked, may_answer = forgetful
    waiter = client.expect("job")
    waiter.incarnation = "first"
    may_forget.send()
    asked.wait()
    may_answer.send()
    assert client.wait(waiter, 10.0)
    assert isinstance(waiter.lost, QueueLost)


class Restarted:
    """A memory queue of which the poll knows the second process already."""

    def collect(self, _client: str, incarnation: str, *_: Any) -> Collected:
        time.sleep(0.1)
        return Collected("second", [], closed=False, forgotten=False)

    def forget(self, _client: str) -> None: ...


@pytest.mark.parametrize(("taken_by", "lost"), [("first", True), ("second", False)])
def test_a_job_that_was_taken_by_a_process_that_is_no_more_is_lost_though_that_is_heard_late(
        ray_cluster: None, taken_by: str, lost: bool) -> None:
    actor = ray.remote(Restarted).options(num_cpus=0).remote()  # pyright: ignore
    client = QueueClient("restarted", actor, QueueInfo("second", durable=False))
    waiter = client.expect("job")
    client._taken([waiter], taken_by)
    assert client.wait(waiter, 10.0 if lost else 1.0) is lost
    assert isinstance(waiter.lost, QueueLost) is lost
    client.close()
    ray.kill(actor)
