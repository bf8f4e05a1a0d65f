"""What the thread that sends an executor's jobs owes their futures, without a queue."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from honeydew_ray.actors.client import QueueClient
from honeydew_ray.actors.delivery import Delivery
from honeydew_ray.protocol import QueueInfo, Row, Submission
from honeydew_ray.queue_executor import QueueExecutor, executor
from honeydew_ray.shipper import SubmitOptions
from honeydew_ray.submitter import Submitter
from honeydew_ray.waiters import Waiter

TIMEOUT_S = 20.0


class Client(QueueClient):
    """Of a queue that takes in nothing until its door is ``open``."""

    def __init__(self) -> None:
        super().__init__("photos", None, QueueInfo("first", durable=False))
        self.asked = threading.Event()
        self.open = threading.Event()
        self.buffers: list[bytes] = []

    def deliver(self, common: Submission, rows: Sequence[Row], buffers: Sequence[Any], waiters: Sequence[Waiter],
                timeout_s: float) -> Delivery:
        self.asked.set()
        assert self.open.wait(TIMEOUT_S)
        self.buffers += [buffer.tobytes() for buffer in buffers]
        return cast("Delivery", SimpleNamespace(confirm=lambda: None))

    def _start_polling(self) -> None: ...


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def pool(client: Client, monkeypatch: pytest.MonkeyPatch) -> QueueExecutor:
    monkeypatch.setattr("honeydew_ray.queue_executor._flush_at_exit", lambda _: None)  # a sender that hangs fails its test, and no more
    return executor(Submitter(client, SubmitOptions()))


def test_a_large_argument_is_as_it_was_when_it_was_submitted(client: Client, pool: QueueExecutor) -> None:
    array = np.ones(200_000, np.uint8)
    pool.submit(len, array)
    array[:] = 7
    client.open.set()
    pool.flush()
    assert [set(buffer) for buffer in client.buffers] == [{1}]
