"""A past put together from events, drawn, and written as a trace."""

from __future__ import annotations

import asyncio
import doctest
import json
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from honeydew_ray.attempts import MAX_LANES, past_of, slot_of
from honeydew_ray.event_log import event_of
from honeydew_ray.events import Event, EventKind
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.move import Move
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.timelines import Timeline, timeline
from tests.unit.harness import Bench, virtual

HOSTILE = "<script>$x^{2$\x1b[31m\x00\n\u202e\N{PILE OF POO}"


def events_of(*benches: Bench) -> list[Event]:
    return [event_of(raw, bench.core.name) for bench in benches for raw in bench.core.events.read(None, 0, 100_000).events]


def eventful() -> list[Event]:
    """The events of two queues in which much goes wrong."""
    events: list[Event] = []

    @virtual
    async def live() -> None:
        bench = await Bench(Retry(1, delay_s=1, finally_=Move("dead"))).open()
        dead = await Bench(name="dead", rig=bench.rig).open(workers=0)
        await bench.group.ready("q/default/0-1a", "q/default/1-1a")
        healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
        await bench.submit_all("sleep 1", "raise", ["signal 9", "ok"], ["lost", "sleep 2"], "sleep 0.5", "ok")
        await asyncio.sleep(2)
        await bench.core.suspend()
        moved, cancelled, _ = await bench.submit_all("ok", "ok", "ok")
        await asyncio.sleep(1)
        await bench.core.move(moved, "dead")
        await bench.core.cancel(cancelled)
        await bench.core.resume()
        await asyncio.sleep(20)
        running = await bench.submit("sleep 100")
        await asyncio.sleep(1)
        assert running in bench.core.floor.monitors
        healing.cancel()
        events.extend(events_of(bench, dead))

    live()
    return events


def check_trace(trace: dict[str, Any]) -> None:
    """What the trace event format asks for, and what Perfetto needs to show it whole."""
    trace = json.loads(json.dumps(trace, allow_nan=False))
    assert trace["displayTimeUnit"] in ("ms", "ns")
    last_end: dict[tuple[int, int], int] = defaultdict(int)
    waits: Counter[str] = Counter()
    arrows: dict[int, list[str]] = defaultdict(list)
    slices: set[tuple[int, int, int]] = set()
    named: set[tuple[int, int]] = set()
    for event in trace["traceEvents"]:
        assert isinstance(event["name"], str)
        assert event["name"]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["ts"], int)
        assert event["ts"] >= 0
        thread = event["pid"], event["tid"]
        match event["ph"]:
            case "M":
                assert event["name"] in ("process_name", "thread_name")
                assert isinstance(event["args"]["name"], str)
                named.add(thread)
            case "X":
                assert event["dur"] >= 0
                assert event["ts"] >= last_end[thread], "slices of a thread must not overlap unless nested"
                last_end[thread] = event["ts"] + event["dur"]
                slices.add((*thread, event["ts"]))
                assert thread in named
            case "b" | "e":
                assert event["cat"]
                waits[event["id"]] += 1 if event["ph"] == "b" else -1
                assert waits[event["id"]] in (0, 1), "an end comes after its begin"
            case "s" | "f":
                arrows[event["id"]].append(event["ph"])
                assert event["ph"] == "s" or event["bp"] == "e"
                assert (*thread, event["ts"]) in {*slices, *((e["pid"], e["tid"], e["ts"]) for e in trace["traceEvents"] if e["ph"] == "X")}
            case "C":
                assert all(isinstance(value, int) and value >= 0 for value in event["args"].values())
            case "i":
                assert event["s"] in ("g", "p", "t")
            case other:
                raise AssertionError(f"phase {other!r}")
    assert set(waits.values()) <= {0}
    assert all(pair == ["s", "f"] for pair in arrows.values())


def test_attempts_are_put_together() -> None:
    shown = timeline(eventful())
    outcomes = Counter(attempt.outcome for attempt in shown.attempts)
    assert outcomes == {"succeeded": 6, "failed": 3, "redelivered": 1, "running": 1}
    crashed = [attempt for attempt in shown.attempts if attempt.crashed and attempt.outcome == "failed"]
    assert [(attempt.job_id, attempt.number) for attempt in crashed] == [("j3", 1)]
    by_job = {attempt.job_id: attempt for attempt in shown.attempts if attempt.outcome == "succeeded"}
    assert by_job["j1"].ran_s == pytest.approx(1, abs=0.01)
    assert by_job["j5"].waited_s > 0
    assert not shown.cut
    kinds = {event.kind for event in shown.news}
    assert {EventKind.MOVED, EventKind.NODE_LOST, EventKind.WORKER_DIED, EventKind.SUSPENDED, EventKind.CANCELLED} <= kinds


def test_how_many_wait_and_run_is_counted() -> None:
    past = past_of(eventful())
    for steps in (past.waiting(), past.running()):
        assert all(jobs >= 0 for _, jobs in steps)
        assert [at for at, _ in steps] == sorted({at for at, _ in steps})
    assert max(jobs for _, jobs in past.running()) == 2
    assert past.running()[-1][1] == 0
    assert max(jobs for _, jobs in past.waiting()) >= 3


def test_the_trace_is_what_the_format_asks_for() -> None:
    trace = timeline(eventful()).trace()
    check_trace(trace)
    phases = Counter(event["ph"] for event in trace["traceEvents"])
    assert phases["X"] == 11
    assert phases["s"] == phases["f"] == 3
    assert phases["b"] == phases["e"] > 3


def test_files_are_written(tmp_path: Path) -> None:
    shown = timeline(eventful())
    check_trace(json.loads(shown.save(tmp_path / "trace.json").read_text()))
    assert shown.save(tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in shown.save(tmp_path / "picture.svg").read_text()
    with pytest.raises(ValueError, match=r"save: path was .*picture.gif.*, expected a name that ends in .json, .png"):
        shown.save(tmp_path / "picture.gif")


def test_the_figure_shows_bars_marks_and_depths() -> None:
    figure = timeline(eventful()).figure()
    lanes, depth = figure.axes
    labels = lanes.get_legend_handles_labels()[1]
    assert {label.split(" (")[0] for label in labels} == {
        "succeeded", "failed", "crashed", "redelivered", "running", "worker died", "to be retried", "moved", "node lost"}
    assert set(depth.get_legend_handles_labels()[1]) == {"waiting", "running", "suspended"}
    assert "11 attempts: 1 crashed, 2 failed, 1 redelivered" in lanes.get_title(loc="left")


@pytest.mark.parametrize("events", [[], [Event(1, 5.0, EventKind.QUEUE_STARTED, "photos")]], ids=["nothing", "only the queue"])
def test_an_empty_queue(events: list[Event], tmp_path: Path) -> None:
    shown = timeline(events)
    assert shown.attempts == ()
    check_trace(shown.trace())
    assert shown.save(tmp_path / "empty.png").exists()


def test_names_full_of_markup_and_control_characters(tmp_path: Path) -> None:
    reason = Failure("exception", HOSTILE, HOSTILE, HOSTILE)
    began = Event(1, 1.0, EventKind.STARTED, "q", HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE)
    failed = began._replace(number=2, at=9.0, kind=EventKind.FAILED, failure=reason, ran_s=8.0)
    moved = began._replace(number=3, at=9.0, kind=EventKind.MOVED, failure=reason, to_queue=HOSTILE)
    shown = timeline([began, failed, moved, began._replace(job_id=("a", 1), number=4, at=9.0)])
    check_trace(shown.trace())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as of a glyph that the font lacks
        shown.save(tmp_path / "hostile.png")
        assert "<script>" not in shown.save(tmp_path / "hostile.svg").read_text()


def test_a_hundred_thousand_attempts(tmp_path: Path) -> None:
    events: list[Event] = []
    for number in range(100_000):
        worker = f"q/default/{number % 8}-1a"
        began = Event(2 * number + 1, number * 0.01, EventKind.STARTED, "q", f"j{number}", "work", 1, worker, "n", waited_s=0.5)
        events += [began, began._replace(number=2 * number + 2, at=number * 0.01 + 0.07, kind=EventKind.SUCCEEDED, ran_s=0.07)]
    shown = timeline(events)
    assert len(shown.attempts) == 100_000
    figure = shown.figure()
    assert len(figure.axes[0].collections) == 1, "one collection, not an object for each bar"
    figure.savefig(tmp_path / "many.png")


def test_jobs_of_one_lease_are_shown_one_after_the_other() -> None:
    def pair(number: int) -> list[Event]:
        began = Event(number, 10.0, EventKind.STARTED, "q", f"j{number}", "work", 1, "q/default/0-1a", "n")
        return [began, began._replace(number=number + 100, at=10.05, kind=EventKind.SUCCEEDED, ran_s=0.01)]

    past = past_of([event for number in range(4) for event in pair(number)])
    assert [attempt.lane for attempt in past.attempts] == [0] * 4
    assert [attempt.started_at for attempt in past.attempts] == pytest.approx([10.0, 10.01, 10.02, 10.03])


def test_jobs_that_run_at_once_have_lanes_of_their_own() -> None:
    def pair(number: int) -> list[Event]:
        began = Event(number, 10.0, EventKind.STARTED, "q", f"j{number}", "work", 1, "q/default/0-1a", "n")
        return [began, began._replace(number=number + 100, at=15.0, kind=EventKind.SUCCEEDED, ran_s=5.0)]

    past = past_of([event for number in range(40) for event in pair(number)])
    assert {attempt.lane for attempt in past.attempts} == set(range(MAX_LANES))
    check_trace(Timeline(past).trace())


def test_an_attempt_whose_start_is_not_kept_is_known_by_its_end() -> None:
    (attempt,) = past_of([Event(7, 10.0, EventKind.SUCCEEDED, "q", "j", "work", 2, "w", "n", waited_s=1.0, ran_s=4.0)]).attempts
    assert (attempt.started_at, attempt.ended_at, attempt.number) == (6.0, 10.0, 2)
    assert past_of([Event(7, 10.0, EventKind.SUCCEEDED, "q", "j", "work", 2, "w", "n", ran_s=4.0)]).cut


def test_a_worker_that_replaces_another_has_its_place() -> None:
    assert slot_of("photos/default/3-2ab") == slot_of("photos/default/3-9cd") == "photos/default/3"
    assert slot_of("w1") == "w1"


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(TypeError, match=r"timeline: queue was 5 \(int\), expected a queue, a queue's name, or events"):
        timeline(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no queue was given"):
        timeline()


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'honeydew-ray\[plot\]'"):
        timeline([]).figure()


def test_what_the_docstrings_show_is_true() -> None:
    assert tuple(doctest.testmod(sys.modules["honeydew_ray.timelines"])[:2]) == (0, 5)
