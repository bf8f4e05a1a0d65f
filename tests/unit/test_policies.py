"""User code on threads of its own: it may raise, hang and lag, and holds up nobody."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from honeydew_ray import policies
from honeydew_ray.job import JobRecord
from honeydew_ray.policies import InlineCaller, SuccessTeller, ThreadCaller, tell_success
from honeydew_ray.success_modes.base import SuccessMode
from honeydew_ray.testing.jobs import make_job

WAIT_S = 30.0  # for what comes at once unless a promise is broken


def call(function: Callable[..., Any], *args: Any, timeout_s: float = WAIT_S) -> Any:
    return asyncio.run(ThreadCaller(timeout_s).call(function, *args))


def raising(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def test_a_call_returns_its_value_from_a_thread_of_its_own() -> None:
    assert call(lambda a, b: (a + b, threading.current_thread().name), 1, 2) == (3, "honeydew-policy")


@pytest.mark.parametrize("error", [KeyError("rule"), TimeoutError("the database"), asyncio.TimeoutError("the loop")])
def test_what_a_call_raises_is_its_callers(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error.args[0])) as caught:
        call(raising(error))
    assert caught.value is error


class Unprintable(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1), asyncio.CancelledError(), GeneratorExit(), Unprintable()]
)
def test_what_would_end_a_loop_or_upset_a_future_comes_as_a_plain_error(error: BaseException) -> None:
    with pytest.raises(RuntimeError, match=type(error).__name__):
        call(raising(error))


def test_a_call_that_hangs_is_left_behind_and_its_late_answer_harms_nobody() -> None:
    release, left = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait(WAIT_S)
        left.set()

    async def work() -> str:
        caller = ThreadCaller(0.05)
        with pytest.raises(TimeoutError, match="did not return within"):
            await caller.call(hang)
        release.set()
        assert await ThreadCaller(WAIT_S).call(left.wait, WAIT_S) is True
        return await ThreadCaller(WAIT_S).call(lambda: "alive")

    assert asyncio.run(work()) == "alive"


def test_an_answer_after_the_loop_has_closed_is_dropped_in_silence() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError):
        call(release.wait, WAIT_S, timeout_s=0.05)
    before = [thread for thread in threading.enumerate() if thread.name == "honeydew-policy"]
    release.set()
    for thread in before:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_calls_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=WAIT_S)

    async def work() -> list[int]:
        caller = ThreadCaller(WAIT_S)
        return await asyncio.gather(caller.call(both.wait), caller.call(both.wait))

    assert sorted(asyncio.run(work())) == [0, 1]


def test_the_inline_caller_calls_in_place() -> None:
    assert asyncio.run(InlineCaller().call(threading.get_ident)) == threading.get_ident()


class Listener(SuccessMode):
    """Notes what it is told; raises on some, and waits when told to."""

    def __init__(self, until: int, raise_on: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.heard: list[str] = []
        self.all_heard = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.begun = threading.Event()
        self._until = until
        self._raise_on = raise_on

    def succeeded(self, job: JobRecord) -> None:
        self.begun.set()
        self.go_on.wait(WAIT_S)
        self.heard.append(job.id)
        if len(self.heard) == self._until:
            self.all_heard.set()
        if job.id in self._raise_on:
            sys.exit("told to")


def test_successes_are_told_in_order_and_one_that_raises_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    mode = Listener(4, raise_on={"1", "2"})
    teller = SuccessTeller(mode)
    for number in range(4):
        teller.tell(make_job(str(number)))
    assert mode.all_heard.wait(WAIT_S)
    assert mode.heard == ["0", "1", "2", "3"]
    assert "raised on job 1" in caplog.text


def test_a_success_mode_far_behind_drops_and_counts_and_the_queue_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(policies, "_MAX_UNTOLD", 3)
    mode = Listener(4)
    mode.go_on.clear()
    teller = SuccessTeller(mode)
    teller.tell(make_job("told first"))
    assert mode.begun.wait(WAIT_S)
    for number in range(3 + 5):
        teller.tell(make_job(str(number)))
    assert [record.args[2] for record in caplog.records if record.args] == [1, 2, 4], "a flood does not flood the log"
    mode.go_on.set()
    assert mode.all_heard.wait(WAIT_S)
    assert mode.heard == ["told first", "0", "1", "2"]


def test_a_raise_is_logged_with_the_job(caplog: pytest.LogCaptureFixture) -> None:
    tell_success(Listener(1, raise_on={"a"}), make_job("a", queue="photos"))
    record, = caplog.records
    assert (record.honeydew_job_id, record.honeydew_queue) == ("a", "photos")  # type: ignore[attr-defined]
