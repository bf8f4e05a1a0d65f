"""What the thread that sends an executor's jobs owes their futures, without a queue."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from honeydew_ray.actors.client import QueueClient
from honeydew_ray.actors.delivery import Delivery
from honeydew_ray.errors import QueueNotFound, ReplyNotRequested
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
        self.refusal: BaseException | None = None
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
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr("honeydew_ray.queue_executor._flush_at_exit", lambda _: None)  # a sender that hangs fails its test, and no more
    return Client()


@pytest.fixture
def pool(client: Client) -> QueueExecutor:
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


def test_a_callback_that_ends_its_thread_leaves_the_others_theirs(client: Client, pool: QueueExecutor) -> None:
    first, second = send_together(client, pool, 2)
    first.add_done_callback(sys.exit)
    client.open.set()
    assert second.result(TIMEOUT_S) is None
    assert pool.submit(len, ()).result(TIMEOUT_S) is None


def test_what_goes_wrong_with_one_batch_is_told_and_the_next_one_is_sent(client: Client, pool: QueueExecutor) -> None:
    client.refusal = SystemExit("nobody expects that")
    client.open.set()
    assert pool.submit(len, ()).exception(TIMEOUT_S) is client.refusal
    client.refusal = None
    assert pool.submit(len, ()).result(TIMEOUT_S) is None


def test_jobs_that_cannot_be_waited_for_fail_and_the_next_ones_are_sent(client: Client) -> None:
    client.open.set()
    pool = QueueExecutor(Submitter(client, SubmitOptions(reply=False)).shipper)
    for _ in range(2):
        assert isinstance(pool.submit(len, ()).exception(TIMEOUT_S), ReplyNotRequested)


@pytest.mark.parametrize(("options", "complaint"), [
    (SubmitOptions(reply=False), "executor: reply was False, expected True"),
    (SubmitOptions(job_id="x"), "executor: job_id was 'x', expected no job_id"),
])
def test_options_that_no_future_can_have_are_refused(client: Client, options: SubmitOptions, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        executor(Submitter(client, options))


def send_together(client: Client, pool: QueueExecutor, count: int) -> list[JobFuture[Any]]:
    """So many jobs that go to the queue in one call: they gather while it has yet to answer the call before."""
    pool.submit(len, ())
    assert client.asked.wait(TIMEOUT_S)
    return [pool.submit(len, ()) for _ in range(count)]
