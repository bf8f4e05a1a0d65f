"""What a job says of itself while it runs."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from honeydew_ray.running_job import MAX_CHARS, NotInJob, ProgressSender, RunningJob, current_worker, progress, set_running


class FakeTimer:
    """Goes off when the test says so."""

    made: ClassVar[list[FakeTimer]] = []

    def __init__(self, interval_s: float, over: Callable[[], None]) -> None:
        self.interval_s = interval_s
        self.over = over
        self.daemon = False
        self.running = False
        self.made.append(self)

    def start(self) -> None:
        assert self.daemon, "a job's end must not wait for it"
        self.running = True

    def cancel(self) -> None:
        self.running = False

    @classmethod
    def go_off(cls) -> None:
        timer = cls.made[-1]
        assert timer.running
        timer.running = False
        timer.over()


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeTimer]]:
    monkeypatch.setattr(FakeTimer, "made", [])
    monkeypatch.setattr(threading, "Timer", FakeTimer)
    yield FakeTimer
    set_running(None)


def test_the_first_value_goes_at_once_then_the_latest_per_interval(timers: type[FakeTimer]) -> None:
    sent: list[Any] = []
    sender = ProgressSender(sent.append, 0.25)
    for value in range(1000):
        sender.publish(value)
    assert sent == [0]
    timers.go_off()
    assert sent == [0, 999]
    timers.go_off()
    assert sent == [0, 999], "nothing new: and the interval has ended"
    sender.publish("more")
    assert sent == [0, 999, "more"]
    assert [timer.interval_s for timer in timers.made] == [0.25] * 3


def test_none_is_a_value_like_any_other(timers: type[FakeTimer]) -> None:
    sent: list[Any] = []
    sender = ProgressSender(sent.append)
    sender.publish(None)
    sender.publish(None)
    timers.go_off()
    assert sent == [None, None]


@pytest.mark.parametrize("busy", [True, False])
def test_once_stopped_it_sends_no_more(timers: type[FakeTimer], busy: bool) -> None:
    sent: list[Any] = []
    sender = ProgressSender(sent.append)
    if busy:
        sender.publish(1)
        sender.publish(2)
    sender.stop()
    assert not any(timer.running for timer in timers.made)
    sender.publish(3)
    assert sent == ([1] if busy else [])
    sender.stop()


def test_an_interval_that_ends_as_it_is_stopped_sends_nothing(timers: type[FakeTimer]) -> None:
    sent: list[Any] = []
    sender = ProgressSender(sent.append)
    sender.publish(1)
    sender.publish(2)
    sender.stop()
    timers.made[-1].over()
    assert sent == [1]


def test_with_a_real_timer_the_latest_value_comes_last() -> None:
    sent: list[Any] = []
    last = threading.Event()

    def send(value: Any) -> None:
        sent.append(value)
        if value == "last":
            last.set()

    sender = ProgressSender(send, 0.02)
    for value in range(100):
        sender.publish(value)
    sender.publish("last")
    assert last.wait(30)
    sender.stop()
    assert sent[0] == 0
    assert len(sent) < 50


def test_outside_a_job_progress_does_nothing_and_there_is_no_worker() -> None:
    set_running(None)
    progress("unheard")
    with pytest.raises(NotInJob, match="outside a job"):
        current_worker()


def test_inside_a_job_progress_is_sent_and_the_worker_is_at_hand(timers: type[FakeTimer]) -> None:
    sent: list[Any] = []
    state = object()
    set_running(RunningJob(state, sent.append))
    progress("half")
    assert sent == ["half"]
    assert current_worker() is state
    progress("more")
    set_running(None)
    assert sent == ["half"], "what is not sent when the job ends is sent no more"


def test_a_thread_of_the_job_may_publish(timers: type[FakeTimer]) -> None:
    sent: list[Any] = []
    set_running(RunningJob(None, sent.append))
    thread = threading.Thread(target=progress, args=("from a thread",))
    thread.start()
    thread.join()
    assert sent == ["from a thread"]
    assert current_worker() is None


class Odd:
    def __repr__(self) -> str:
        return "odd" * MAX_CHARS


class Refusal(Exception):
    pass


def refuse(*_: object) -> Any:
    raise Refusal


class Mute:
    __repr__ = refuse


class Sealed(dict[str, int]):
    items = refuse


class Level(enum.IntEnum):
    HIGH = 3


class Count(int):
    __int__ = __index__ = __repr__ = __str__ = refuse


class Share(float):
    __float__ = __repr__ = __str__ = refuse


class Text(str):
    __slots__ = ()
    __getitem__ = __len__ = __repr__ = __str__ = refuse


class Named:
    def __repr__(self) -> str:
        return Text("named")


KNOT: list[Any] = []
KNOT.append(KNOT)


def types_in(value: Any) -> list[type]:
    inner: list[Any] = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [type(value), *(found for one in inner for found in types_in(one))]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, None), (True, True), (3, 3), (0.5, 0.5), ("half", "half"),
        ("x" * 5000, "x" * MAX_CHARS),
        ({"done": [1, 2]}, {"done": [1, 2]}),
        ((1, 2), [1, 2]),
        ({3}, "{3}"),
        (Odd(), ("odd" * MAX_CHARS)[:MAX_CHARS]),
        (KNOT, "[[...]]"),
        (Level.HIGH, 3),
        (Count(7), 7),
        (np.float64(0.5), 0.5),
        (Share(0.5), 0.5),
        (Text("half"), "half"),
        (Text("x" * 5000), "x" * MAX_CHARS),
        ({"done": [Level.HIGH, Count(7)], Text("of"): {"all": (np.float64(0.5), Text("half"))}},
         {"done": [3, 7], "of": {"all": [0.5, "half"]}}),
        (Named(), "named"),
        (Mute(), "<tests.unit.test_running_job.Mute whose __repr__ raised tests.unit.test_running_job.Refusal>"),
        (Sealed(a=1), "{'a': 1}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_shown_as_plain_data_of_bounded_size(timers: type[FakeTimer], given: Any, shown: Any) -> None:
    sent: list[Any] = []
    set_running(RunningJob(None, sent.append))
    progress(given)
    assert sent == [shown]
    assert types_in(sent[0]) == types_in(shown), "a queue need not have the modules of a job's types"


def test_large_plain_data_is_cut(timers: type[FakeTimer]) -> None:
    sent: list[Any] = []
    set_running(RunningJob(None, sent.append))
    progress(list(range(5000)))
    assert sent[0].startswith("[0, 1, 2")
    assert len(sent[0]) == MAX_CHARS
