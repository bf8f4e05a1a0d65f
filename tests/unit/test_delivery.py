"""Jobs on their way to a queue: what a caller is told when tries have no answer, without Ray."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError, ActorUnschedulableError, ObjectLostError, RayTaskError

from honeydew_ray.actors import delivery
from honeydew_ray.errors import EnqueueUncertain, QueueFull, QueueNotFound, UnknownMethod
from honeydew_ray.protocol import Collected, QueueInfo
from honeydew_ray.reply_poll import Away, ReplyPoll
from honeydew_ray.waiters import Waiters

Deliver = Callable[..., delivery.Delivery]


@pytest.fixture
def deliver(monkeypatch: pytest.MonkeyPatch) -> Deliver:
    """Makes a delivery whose tries end as told: by an answer, or by what they raise."""

    def make(*ends: Any) -> delivery.Delivery:
        line = list(ends)

        def get(_: object, timeout: float) -> Any:
            end = line.pop(0)
            if isinstance(end, Exception):
                raise end
            return end

        monkeypatch.setattr(delivery, "ray", SimpleNamespace(get=get))
        monkeypatch.setattr(delivery, "_RETRY_S", 0.0)
        actor = SimpleNamespace(enqueue=SimpleNamespace(remote=lambda *_: object()))
        return delivery.Delivery("q", actor, b"", (), (), 30.0, 0.0, lambda: QueueNotFound("gone"), lambda waiters, incarnation: None)

    return make


def told(error: Exception) -> RayTaskError:
    """An exception of the queue's own, as Ray hands it over."""
    return RayTaskError("enqueue", "", error)


@pytest.mark.parametrize("refusal", [QueueFull("full"), QueueNotFound("stopping"), UnknownMethod("no such method")])
def test_a_refusal_is_one(deliver: Deliver, refusal: Exception) -> None:
    with pytest.raises(type(refusal)):
        deliver(told(refusal)).confirm()


@pytest.mark.parametrize("refusal", [QueueFull("full"), QueueNotFound("stopping"), UnknownMethod("no such method")])
def test_after_a_try_of_unclear_end_a_refusal_does_not_say_that_nothing_was_enqueued(deliver: Deliver, refusal: Exception) -> None:
    unclear = ActorUnavailableError("a connection broke", b"0" * 16)
    with pytest.raises(EnqueueUncertain, match="earlier try"):
        deliver(unclear, told(refusal)).confirm()


def test_a_queue_that_ray_cannot_start_again_is_gone(deliver: Deliver) -> None:
    nowhere = ActorUnschedulableError("its node is dead")
    with pytest.raises(QueueNotFound):
        deliver(nowhere).confirm()
    with pytest.raises(EnqueueUncertain, match="is gone; the job may have been enqueued"):
        deliver(ActorUnavailableError("a connection broke", b"0" * 16), nowhere).confirm()


def test_after_a_try_of_unclear_end_a_confirmation_counts(deliver: Deliver) -> None:
    deliver(ActorUnavailableError("a connection broke", b"0" * 16), "incarnation").confirm()


def test_large_arguments_that_the_queue_could_not_reach_are_sent_anew(deliver: Deliver) -> None:
    """Ray may take a process that was stopped for a while for dead, and with it the objects that it owns."""
    lost = told(ObjectLostError("00" * 28, None, "")).as_instanceof_cause()
    deliver(lost, lost, "incarnation").confirm()
    with pytest.raises(QueueFull):
        deliver(lost, told(QueueFull("full"))).confirm()


def test_a_restarted_queue_is_asked_again_for_ends_when_the_question_was_lost() -> None:
    """Else whoever waits for a job that ended in the moment of the restart would wait for ever."""
    waiters = Waiters()
    waiter = waiters.of("job")
    waiter.incarnation = "i1"
    nothing_yet = Collected("i2", [], False, False)
    line: list[Any] = [nothing_yet, Away(), nothing_yet, [], nothing_yet]
    asked: list[str] = []

    def answer(method: str, *args: Any) -> Any:
        asked.append(method)
        end = line.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    poll = ReplyPoll("q", "me", QueueInfo("i1", durable=True), waiters, answer)
    for _ in range(3):
        assert poll._collect() is None
    assert asked == ["collect", "expect", "collect", "expect", "collect"]
