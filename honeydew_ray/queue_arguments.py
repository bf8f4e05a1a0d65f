"""The arguments of `start_queue`, looked at before anything is started."""

from __future__ import annotations

from collections.abc import Iterable

from honeydew_ray.arguments import expect_count, expect_name, expect_seconds, refuse, refuse_type
from honeydew_ray.dispatchers.base import Dispatcher
from honeydew_ray.dispatchers.lru_node import LRUNode
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.judge import NodeLoss
from honeydew_ray.queue_core import QueuePolicy
from honeydew_ray.subscribers.base import Subscriber


def policy_of(name: str, dispatcher: Dispatcher | None, failure_mode: FailureMode | None, suspended: bool | None, *, result_ttl_s: float,
              max_redeliveries: int, max_pending: int | None, node_loss: NodeLoss, events_kept: int) -> QueuePolicy:
    """How the queue is to behave; what was not given as `start_queue` promises. Raises ``ValueError`` and ``TypeError``."""
    expect_name("start_queue", "name", name)
    expect_instance("dispatcher", dispatcher, Dispatcher, "LRUNode()")
    expect_instance("failure_mode", failure_mode, FailureMode, "Retry(times=3)")
    if suspended is not None and not isinstance(suspended, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refuse_type("start_queue", "suspended", suspended, "True, False, or None for what the store remembers", "suspended=True")
    if node_loss not in ("redeliver", "fail"):
        raise refuse("start_queue", "node_loss", node_loss, '"redeliver" or "fail"', 'node_loss="fail"')
    return QueuePolicy(
        name,
        LRUNode() if dispatcher is None else dispatcher,  # not "or": a plug-in that has a length may be false
        Abandon() if failure_mode is None else failure_mode,
        suspended,
        result_ttl_s=expect_seconds("start_queue", "result_ttl_s", result_ttl_s),
        max_redeliveries=expect_count("start_queue", "max_redeliveries", max_redeliveries),
        node_loss=node_loss,
        max_pending=None if max_pending is None else expect_count("start_queue", "max_pending", max_pending, least=1),
        events_kept=expect_count("start_queue", "events_kept", events_kept),
    )


def expect_instance(what: str, value: object, family: type, example: str) -> None:
    """Refuse anything but an instance of a family of plug-ins, or None."""
    if value is not None and not isinstance(value, family):
        hint = f"an instance of {family.__name__}, not the class" if isinstance(value, type) else f"an instance of {family.__name__}"
        raise refuse_type("start_queue", what, value, hint, f"{what}={example}")


def expect_subscribers(subscribers: Iterable[Subscriber]) -> tuple[Subscriber, ...]:
    """One subscriber, or some."""
    given = (subscribers,) if isinstance(subscribers, Subscriber) else tuple(subscribers)
    for subscriber in given:
        expect_instance("subscribers", subscriber, Subscriber, "[LogEvents()]")
    return given
