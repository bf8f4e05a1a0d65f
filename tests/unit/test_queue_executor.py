"""What the thread that sends an executor's jobs owes their futures, without a queue."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from honeydew_ray.actors.client import QueueClient
from honeydew_ray.actors.delivery import Delivery
from honeydew_ray.errors import QueueNotFound
from honeydew_ray.job import CancelOutcome, JobSnapshot, JobState
from honeydew_ray.protocol import QueueInfo, Row, Submission
from honeydew_ray.queue_executor import JobFuture, QueueExecutor, executor
from honeydew_ray.shipper import SubmitOptions
from honeydew_ray.submitter import Submitter
from honeydew_ray.waiters import Waiter

TIMEOUT_S = 10.0


class Client(QueueClient):
    """Of a queue that answers nobody until its door is ``open``; then the jobs end as they arrive, or are refused."""

    def __init__(self) -> None:
        super().__init__("photos", None, QueueInfo("first", durable=False))
        self.asked = threading.Event()
        self.open = threading.Event()
        self.refusal: Exception | None = None
        self.buffers: list[bytes] = []
        self.batches: list[int] = []

    def deliver(self, common: Submission, rows: Sequence[Row], buffers: Sequence[Any], waiters: Sequence[Waiter],
                timeout_s: float) -> Delivery:
        self.asked.set()
        assert self.open.wait(TIMEOUT_S)
        self.buffers += [buffer.tobytes() for buffer in buffers]
        self.batches.append(len(rows))
        if self.refusal is not None:
            raise self.refusal
        self._waiters.ended([JobSnapshot(row.job_id, JobState.DONE, row.method, 1, 0.0, 0.0, 0.0, None, None, None) for row in rows])
        return cast("Delivery", SimpleNamespace(confirm=lambda: None))

    def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        assert method == "cancel"
        return CancelOutcome.NOT_FOUND

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


@pytest.mark.parametrize("refusal", [None, QueueNotFound("it is gone")], ids=["ended", "refused"])
@pytest.mark.parametrize("call_off", [lambda _, sibling: sibling.cancel(), lambda pool, _: pool.shutdown(wait=False, cancel_futures=True)],
                         ids=["cancel", "shutdown"])
def test_a_callback_may_cancel_what_was_sent_with_its_own_job(client: Client, pool: QueueExecutor, refusal: Exception | None,
                                                              call_off: Callable[[QueueExecutor, JobFuture[Any]], object]) -> None:
    first, second = send_together(client, pool, 2)
    called_off: list[object] = []
    first.add_done_callback(lambda _: called_off.append(call_off(pool, second)))
    client.refusal = refusal
    client.open.set()
    done, _ = concurrent.futures.wait([first, second], timeout=TIMEOUT_S)
    assert done == {first, second}
    assert client.batches == [1, 2]
    assert called_off, "it came back"
    assert (first.exception(), second.exception()) == (refusal, refusal)


def send_together(client: Client, pool: QueueExecutor, count: int) -> list[JobFuture[Any]]:
    """So many jobs that go to the queue in one call: they gather while it has yet to answer the call before."""
    pool.submit(len, ())
    assert client.asked.wait(TIMEOUT_S)
    return [pool.submit(len, ()) for _ in range(count)]
