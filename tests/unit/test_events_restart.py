"""What a queue tells after its process was lost and another took over."""

from __future__ import annotations

import asyncio

import pytest

from honeydew_ray.attempts import past_of
from honeydew_ray.event_log import event_of
from honeydew_ray.events import Event
from tests.unit.harness import Bench, virtual
from tests.unit.test_core_reattach import again, durable, lost


def told(bench: Bench) -> list[Event]:
    return [event_of(raw, bench.core.name) for raw in bench.core.events.read(None, 0).events]


@virtual
async def test_numbers_begin_anew_and_a_job_that_ran_on_is_known_by_its_end() -> None:
    first = await durable()
    job_id = await first.submit("sleep 10")
    await asyncio.sleep(1)
    lost(first)
    second = await again(first)
    await second.end(job_id)
    events = told(second)
    assert [(event.number, str(event.kind)) for event in events] == [(1, "queue_started"), (2, "worker_started"), (3, "succeeded")]
    assert events[2].ran_s is not None
    (attempt,) = past_of(events).attempts
    assert (attempt.outcome, attempt.worker) == ("succeeded", "w1")


@virtual
async def test_a_job_that_nobody_holds_any_more_is_told_as_redelivered() -> None:
    first = await durable()
    job_id = await first.submit(["hang", "ok"])
    await asyncio.sleep(1)
    lost(first)
    first.rig.dead.add("w1")
    second = await Bench(store=first.store, rig=first.rig).open()
    await second.group.ready("w2")
    await second.end(job_id)
    events = [event for event in told(second) if event.job_id == job_id]
    assert [str(event.kind) for event in events] == ["redelivered", "started", "succeeded"]
    assert (events[0].worker, events[0].attempt) == (None, 1)
    assert events[0].failure is not None
    assert "no live worker holds it" in events[0].failure.message
    assert events[0].ran_s == pytest.approx(1, abs=0.1)
