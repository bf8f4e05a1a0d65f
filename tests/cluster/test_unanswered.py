"""Waiting on a queue that does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from honeydew_ray.actors.client import QueueClient
from honeydew_ray.job_handle import Job
from honeydew_ray.protocol import QueueInfo


class Mute:
    """A queue that answers nothing."""

    def collect(self, *_: Any) -> None:
        threading.Event().wait()

    def expect(self, *_: Any) -> None: ...

    def forget(self, *_: Any) -> None: ...


@pytest.fixture
def client(ray_cluster: None) -> Iterator[QueueClient]:
    actor = ray.remote(Mute).options(num_cpus=0).remote()  # pyright: ignore
    client = QueueClient("mute", actor, QueueInfo("first", durable=False))
    client.actor.collect.remote()
    yield client
    client.close()
    ray.kill(actor)


def test_waiting_for_another_process_job_ends_in_time(client: QueueClient) -> None:
    job: Job[None] = Job(client, "job")
    began = time.monotonic()
    assert not job.wait(0)
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.1 s"):
        job.result(timeout=0.1)
    assert time.monotonic() - began < 30


def test_asking_what_holds_a_job_up_takes_none_of_the_time_that_there_is_not(client: QueueClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("honeydew_ray.actors.client._WONDER_S", 0.1)
    job: Job[None] = Job(client, "job", waiter=client.expect("job"))
    began = time.monotonic()
    assert not job.wait(0.4)
    assert time.monotonic() - began < 15, "it may ask for 30 s"
