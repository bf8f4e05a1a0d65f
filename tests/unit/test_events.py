"""What a queue tells of itself, and that telling holds up nobody."""

from __future__ import annotations

import asyncio
import doctest
import logging
from typing import Any

import pytest

import honeydew_ray.events
import honeydew_ray.subscribers.base
import honeydew_ray.subscribers.log_events
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.event_log import MAX_MESSAGE_CHARS, MAX_PROGRESS_CHARS, MAX_TRACEBACK_CHARS, EventLog, cut, event_of
from honeydew_ray.events import Event, EventKind, expect_kinds
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.move import Move
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.subscribers.log_events import LogEvents
from honeydew_ray.testing.virtual_time import EPOCH, VirtualClock, settle
from tests.unit.harness import LATENCY_S, TICK, Bench, virtual

HOSTILE = "<script>alert('x')</script>\x1b[31m\x00\n\u202e"


def told(bench: Bench, job_id: Any = None) -> list[Event]:
    """What the queue has told so far, of one job or of all."""
    page = bench.core.events.read(None, 0)
    events = [event_of(raw, bench.core.name) for raw in page.events]
    return [event for event in events if job_id is None or event.job_id == job_id]


def kinds(events: list[Event]) -> list[str]:
    return [str(event.kind) for event in events]


@virtual
async def test_a_job_that_succeeds() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit("sleep 2")
    await asyncio.sleep(2 + 2 * TICK)
    enqueued, started, succeeded = told(bench, job_id)
    assert (enqueued.kind, started.kind, succeeded.kind) == (EventKind.ENQUEUED, EventKind.STARTED, EventKind.SUCCEEDED)
    assert (started.worker, started.node, started.attempt, started.method) == ("w1", "n1", 1, "work")
    assert started.waited_s == pytest.approx(0.0, abs=TICK)
    assert succeeded.ran_s == pytest.approx(2 + LATENCY_S, abs=TICK)
    assert succeeded.at == pytest.approx(started.at + 2, abs=2 * TICK)
    assert succeeded.failure is None


@virtual
async def test_the_first_event_is_the_queue_itself_and_numbers_have_no_gaps() -> None:
    bench = await Bench().open(workers=2)
    await bench.submit_all(*["ok"] * 20)
    await asyncio.sleep(1)
    events = told(bench)
    assert kinds(events)[:3] == ["queue_started", "worker_started", "worker_started"]
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert len(events) == 3 + 3 * 20
    assert events[1].pid == 7


@virtual
async def test_progress_is_told_of_the_attempt_that_runs_and_of_no_other() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit("sleep 2")
    await asyncio.sleep(1)
    token = bench.core.floor.monitors[job_id].token
    bench.core.progressed(job_id, token.attempt, token.incarnation, "half")
    bench.core.progressed(job_id, token.attempt + 1, token.incarnation, "of an attempt to come")
    bench.core.progressed(job_id, token.attempt, "another", "of another life of the queue")
    bench.core.progressed("nobody", token.attempt, token.incarnation, "of a job that is not here")
    await bench.end(job_id)
    bench.core.progressed(job_id, token.attempt, token.incarnation, "too late")
    progress = [event for event in told(bench) if event.kind is EventKind.PROGRESSED]
    assert [(event.job_id, event.attempt, event.worker, event.progress) for event in progress] == [(job_id, 1, "w1", "half")]


@virtual
async def test_a_job_that_fails_and_is_tried_again() -> None:
    bench = await Bench(Retry(times=1, delay_s=5)).open(workers=1)
    job_id = await bench.submit(["raise", "ok"])
    await asyncio.sleep(1)
    events = told(bench, job_id)
    assert kinds(events) == ["enqueued", "started", "failed", "retrying"]
    failed, retrying = events[2:]
    assert failed.failure is not None
    assert (failed.failure.kind, failed.failure.message, failed.worker, failed.attempt) == ("exception", "as scripted", "w1", 1)
    assert (retrying.failure, retrying.delay_s) == (failed.failure, pytest.approx(5))
    bench.group.set("w1", epoch=2)
    bench.group.publish()
    await asyncio.sleep(10)
    started = told(bench, job_id)[4]
    assert kinds(told(bench, job_id))[4:] == ["started", "succeeded"]
    assert (started.attempt, started.waited_s) == (2, pytest.approx(0, abs=TICK))


@pytest.mark.parametrize(("script", "kind"), [("signal 9", "signal"), ("exit 3", "exit")])
@virtual
async def test_a_job_that_kills_its_worker(script: str, kind: str) -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit(script)
    await asyncio.sleep(1)
    events = told(bench, job_id)
    assert kinds(events) == ["enqueued", "started", "worker_died", "failed", "abandoned"]
    assert (events[2].worker, events[2].node) == ("w1", "n1")
    assert events[3].failure is not None
    assert events[3].failure.kind == kind


@virtual
async def test_a_lost_node_is_told_once_and_its_jobs_are_redelivered() -> None:
    bench = await Bench().open(workers=2)
    jobs = await bench.submit_all(["lost", "hang"], ["lost", "hang"])
    await asyncio.sleep(1)
    for job_id in jobs:
        assert kinds(told(bench, job_id)) == ["enqueued", "started", "worker_died", "redelivered"]
    bench.core.events.node_lost("n1")
    assert [event.node for event in told(bench) if event.kind == "node_lost"] == ["n1"]


@virtual
async def test_a_failed_job_that_is_moved() -> None:
    bench = await Bench(Move("other")).open(workers=1)
    other = await Bench(name="other", rig=bench.rig).open()
    job_id = await bench.submit("raise")
    await asyncio.sleep(1)
    assert kinds(told(bench, job_id)) == ["enqueued", "started", "failed", "moved"]
    assert told(bench, job_id)[-1].to_queue == "other"
    (arrived,) = told(other, job_id)
    assert (arrived.kind, arrived.queue) == (EventKind.ENQUEUED, "other")
    assert arrived.failure is not None


@virtual
async def test_waiting_jobs_moved_cancelled_and_revived() -> None:
    bench = await Bench().open(workers=1)
    other = await Bench(name="other", rig=bench.rig).open()
    await bench.core.suspend()
    moved, cancelled = await bench.submit_all("ok", "ok")
    delayed = await bench.submit("ok", delay_s=60)
    await bench.core.move(moved, "other")
    await bench.core.cancel(cancelled)
    assert kinds(told(bench, moved)) == ["enqueued", "moved"]
    assert told(bench, moved)[-1].to_queue == "other"
    assert kinds(told(bench, cancelled)) == ["enqueued", "cancelled"]
    assert told(bench, delayed)[0].delay_s == pytest.approx(60)
    assert kinds(told(other, moved)) == ["enqueued"]
    await bench.core.resume()
    await bench.core.resume()  # again: nothing changes, so nothing is told
    dead = await bench.submit(["raise", "ok"])
    await asyncio.sleep(1)
    await bench.core.retry(dead)
    assert kinds(told(bench, dead)) == ["enqueued", "started", "failed", "abandoned", "revived"]
    assert [kind for kind in kinds(told(bench)) if kind in ("suspended", "resumed")] == ["suspended", "resumed"]


@virtual
async def test_a_running_job_that_is_cancelled_and_one_that_is_taken_back() -> None:
    bench = await Bench().open(workers=2)
    bench.rig.latency_s = 5
    taken_back = await bench.submit("ok")
    await bench.core.suspend()
    assert kinds(told(bench, taken_back)) == ["enqueued", "started", "recalled"]
    await bench.core.cancel(taken_back)
    await bench.core.resume()
    running = await bench.submit("hang")
    await asyncio.sleep(10)
    await bench.core.cancel(running, running=True)
    assert kinds(told(bench, running)) == ["enqueued", "started", "worker_died", "cancelled"]


@virtual
async def test_workers_that_are_stopped_did_not_die() -> None:
    bench = await Bench().open(workers=2)
    await bench.core.retire(["w1", "w2"], "g1", 1.0)
    bench.core.workforce.remove_group("default")
    assert kinds(told(bench))[-2:] == ["worker_stopped", "worker_stopped"]


@virtual
async def test_one_id_enqueued_twice_is_told_once() -> None:
    bench = await Bench().open()
    for _ in range(2):
        await bench.submit("ok", id="same")
    assert kinds(told(bench, "same")) == ["enqueued"]


@virtual
async def test_a_worker_that_fell_silent_and_was_killed_died() -> None:
    bench = await Bench().open(workers=2)
    job_id = await bench.submit(["hang", "ok"])
    await asyncio.sleep(1)
    worker = told(bench, job_id)[-1].worker
    assert worker is not None
    assert await bench.core.fence(worker, "g1")
    await asyncio.sleep(1)
    assert kinds(told(bench, job_id)) == ["enqueued", "started", "worker_died", "redelivered", "started", "succeeded"]


@virtual
async def test_an_idle_worker_that_vanishes_died() -> None:
    bench = await Bench().open(workers=2)
    del bench.group.views["w1"]
    bench.group.publish()
    assert (told(bench)[-1].kind, told(bench)[-1].worker) == (EventKind.WORKER_DIED, "w1")
    assert bench.core.workforce.suspected_nodes() == {"n1"}
    assert bench.core.workforce.suspected_nodes() == set()


@virtual
async def test_how_long_a_job_ran_is_what_its_worker_measured() -> None:
    bench = await Bench().open(workers=1)
    bench.rig.ran_s = 7.0
    job_id = await bench.submit("ok")
    await asyncio.sleep(1)
    assert told(bench, job_id)[-1].ran_s == 7.0


@virtual
async def test_a_queue_that_is_closed_lets_its_readers_go() -> None:
    bench = await Bench().open()
    events = bench.core.events
    reading = asyncio.ensure_future(events.wait(events.incarnation, events.last, 1000.0))
    await asyncio.sleep(1)
    await bench.core.close()
    assert not await asyncio.wait_for(reading, 1)


@virtual
async def test_progress_has_room_of_its_own() -> None:
    log = EventLog("q", VirtualClock(), kept=100)
    bench = Bench()
    log.opened("one")
    for number in range(10_000):
        log.progressed(bench.job(), _worker(), number)
    log.enqueued([bench.job()])
    page = log.read("one", 0, 1000)
    assert page.events[0][2] == "queue_started"
    assert page.events[-1][2] == "enqueued"
    assert len(page.events) == 1 + 10 + 1
    assert page.missed == 10_000 - 10
    log.progressed(bench.job(), _worker(), {"text": "x" * 10_000})
    assert len(log.read("one", page.upto).events[0][13]) == MAX_PROGRESS_CHARS


@virtual
async def test_a_slow_reader_misses_events_and_is_told_how_many() -> None:
    log = EventLog("q", VirtualClock(), kept=10)
    log.opened("one")
    first = log.read("one", 0)
    assert (first.upto, first.missed) == (1, 0)
    for _ in range(25):
        log.tell(EventKind.RESUMED)
    late = log.read("one", first.upto)
    assert (len(late.events), late.missed, late.upto) == (10, 15, 26)
    again = log.read("one", late.upto)
    assert (again.events, again.missed, again.upto) == ([], 0, 26)


@virtual
async def test_reading_goes_page_by_page() -> None:
    log = EventLog("q", VirtualClock(), kept=100)
    log.opened("one")
    for _ in range(49):
        log.tell(EventKind.RESUMED)
    numbers: list[int] = []
    upto = 0
    while (page := log.read("one", upto, 7)).events:
        numbers += [raw[0] for raw in page.events]
        upto = page.upto
        assert page.missed == 0
    assert numbers == list(range(1, 51))


@virtual
async def test_a_reader_waits_without_cost_and_is_woken_once_for_many() -> None:
    log = EventLog("q", VirtualClock())
    log.opened("one")
    assert not await log.wait("one", 1, 5.0)
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)
    reading = asyncio.ensure_future(log.wait("one", 1, 100.0))
    await settle()
    for _ in range(10):
        log.tell(EventKind.RESUMED)
    assert await reading
    assert len(log.read("one", 1).events) == 10
    assert await log.wait("another incarnation", 11, 100.0)
    waiting = asyncio.ensure_future(log.wait("one", 11, 100.0))
    await settle()
    log.close()
    assert not await waiting
    assert not await log.wait("one", 11, 100.0)


@virtual
async def test_a_queue_keeps_as_many_as_it_was_told() -> None:
    bench = await Bench(events_kept=3).open()
    await bench.submit_all(*["ok"] * 5)
    assert len(told(bench)) == 3


@virtual
async def test_none_are_kept_if_none_are_wanted() -> None:
    log = EventLog("q", VirtualClock(), kept=0)
    log.opened("one")
    log.enqueued([Bench().job()])
    assert log.read("one", 0) == ("one", [], 0, 0, 0)


def test_failures_are_cut_to_size_and_lose_the_exception() -> None:
    large = Failure("exception", "ValueError", "m" * 10_000, "t" * 100_000 + "end", exception=b"x" * 100_000)
    small = cut(large)
    assert small is not None
    assert (len(small.message), len(small.traceback), small.exception) == (MAX_MESSAGE_CHARS, MAX_TRACEBACK_CHARS, None)
    assert small.traceback.endswith("end")
    assert cut(None) is None


def test_an_event_is_shown_on_one_line_whatever_its_texts_hold() -> None:
    event = Event(1, EPOCH, EventKind.FAILED, "q", HOSTILE, HOSTILE, failure=Failure("exception", HOSTILE, HOSTILE), progress=HOSTILE)
    text = str(event)
    assert text.isprintable()
    assert "<script>" in text  # a terminal does not mind
    assert event.facts()["job_id"] == HOSTILE


def test_kinds_are_checked() -> None:
    assert expect_kinds("events", ["failed", EventKind.MOVED]) == {EventKind.FAILED, EventKind.MOVED}
    assert expect_kinds("events", "failed") == {EventKind.FAILED}
    with pytest.raises(ValueError, match=r"events: kinds was 'exploded', expected some of enqueued, .*; for example"):
        expect_kinds("events", ["exploded"])


def test_events_are_logged_with_their_facts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "honeydew_ray.events")
    reason = Failure("signal", "WorkerKilled", "ended by SIGKILL", "last words", signal=9)
    events = [
        Event(1, EPOCH, EventKind.FAILED, "photos", "a", "classify", 2, "w1", "n1", reason, 0.5, 1.5),
        Event(2, EPOCH, EventKind.SUCCEEDED, "photos", "b", "classify", 1, "w1", "n1", None, 0.5, 1.5),
        Event(3, EPOCH, EventKind.PROGRESSED, "photos", "b", "classify", 1, "w1", "n1", progress="half"),
    ]
    LogEvents().received(events, missed=3)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING, logging.INFO]
    failed: Any = caplog.records[1]
    assert (failed.honeydew_job_id, failed.honeydew_queue, failed.honeydew_method) == ("a", "photos", "classify")
    assert (failed.honeydew_failure_kind, failed.honeydew_failure_class) == ("signal", "WorkerKilled")
    assert (failed.honeydew_attempt, failed.honeydew_traceback) == (2, "last words")
    assert not hasattr(caplog.records[2], "honeydew_failure_kind")


@pytest.mark.parametrize("module", [honeydew_ray.events, honeydew_ray.subscribers.base, honeydew_ray.subscribers.log_events])
def test_what_the_docstrings_show_is_true(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def _worker() -> WorkerRef:
    return WorkerRef("w1", "n1")
