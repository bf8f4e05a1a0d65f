"""Metrics from events, and a dashboard that asks for metrics that exist."""

from __future__ import annotations

import doctest
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

import honeydew_ray.metrics
from honeydew_ray.events import Event, EventKind
from honeydew_ray.failure import Failure
from honeydew_ray.metrics import MAX_METHODS, OTHER, Metrics, dashboard
from honeydew_ray.status import QueueStatus, WorkerState, WorkerStatus
from honeydew_ray.testing.sent import sent


class Instrument:
    """Remembers what it was told, by its tags."""

    def __init__(self, tags: Sequence[str]) -> None:
        self.tags = set(tags)
        self.told: dict[tuple[str, ...], list[float]] = defaultdict(list)

    def tell(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == self.tags
        assert all(isinstance(tag, str) for tag in tags.values())
        self.told[tuple(tags[name] for name in sorted(tags))].append(value)

    inc = set = observe = tell


class Board:
    """Instruments by name."""

    def __init__(self) -> None:
        self.made: dict[str, Instrument] = {}

    def counter(self, name: str, description: str, tags: Sequence[str]) -> Any:
        return self._new(f"{name}_total", tags)

    def gauge(self, name: str, description: str, tags: Sequence[str]) -> Any:
        return self._new(name, tags)

    def histogram(self, name: str, description: str, boundaries: Sequence[float], tags: Sequence[str]) -> Any:
        assert list(boundaries) == sorted(boundaries)
        return self._new(f"{name}_bucket", tags)

    def _new(self, name: str, tags: Sequence[str]) -> Instrument:
        return self.made.setdefault(name, Instrument(tags))


def measured(*events: Event, missed: int = 0) -> dict[str, dict[tuple[str, ...], list[float]]]:
    board = Board()
    metrics = Metrics(instruments=board)
    metrics.opened("photos")
    metrics.received(events, missed)
    return {name: instrument.told for name, instrument in board.made.items()}


def event(kind: EventKind, method: str | None = "classify", **facts: Any) -> Event:
    return Event(1, 0.0, kind, "photos", "a", method, 1, **facts)


def test_events_are_counted_by_kind_and_failures_by_reason() -> None:
    told = measured(
        event(EventKind.STARTED, waited_s=0.5), event(EventKind.STARTED, waited_s=1.5), event(EventKind.SUCCEEDED, waited_s=0.5, ran_s=2.0),
        event(EventKind.FAILED, waited_s=1.5, ran_s=3.0, failure=Failure("signal", "WorkerKilled", "")), event(EventKind.ABANDONED),
        event(EventKind.WORKER_DIED, method=None), missed=7,
    )
    assert told["honeydew_events_total"] == {
        ("started", "classify", "photos"): [2], ("succeeded", "classify", "photos"): [1], ("failed", "classify", "photos"): [1],
        ("abandoned", "classify", "photos"): [1], ("worker_died", "", "photos"): [1],
    }
    assert told["honeydew_failures_total"] == {("classify", "photos", "signal"): [1]}
    assert told["honeydew_queue_time_seconds_bucket"] == {("classify", "photos"): [0.5, 1.5]}
    assert told["honeydew_run_time_seconds_bucket"] == {("classify", "photos"): [2.0, 3.0]}
    assert told["honeydew_events_missed_total"] == {("photos",): [7]}


def test_made_up_method_names_do_not_make_time_series_without_end() -> None:
    told = measured(*(event(EventKind.ENQUEUED, method=f"method {number}\n<b>") for number in range(1000)))
    methods = {tags[1] for tags in told["honeydew_events_total"]}
    assert len(methods) == MAX_METHODS + 1
    assert told["honeydew_events_total"]["enqueued", OTHER, "photos"] == [1000 - MAX_METHODS]


def test_the_gauges_show_how_the_queue_stands_and_go_to_zero_with_it() -> None:
    board = Board()
    metrics = Metrics(every_s=1, instruments=board)
    metrics.opened("photos")
    metrics.looked(QueueStatus("photos", 5, 4, 3, 2, True, "MemoryStore", [WorkerStatus("w", None, WorkerState.BUSY)]))
    metrics.closed()
    assert board.made["honeydew_jobs"].told == {
        ("photos", "pending"): [5, 0], ("photos", "delayed"): [4, 0], ("photos", "in_progress"): [3, 0], ("photos", "abandoned"): [2, 0],
    }
    assert board.made["honeydew_workers"].told["photos", "busy"] == [1, 0]
    assert set(board.made["honeydew_workers"].told) == {("photos", state.value) for state in WorkerState}
    assert board.made["honeydew_suspended"].told == {("photos",): [1, 0]}


def test_it_can_be_sent_to_the_process_of_its_queue() -> None:
    assert repr(sent(Metrics(every_s=2))) == "Metrics(every_s=2)"
    with pytest.raises(ValueError, match="Metrics: every_s was 0"):
        Metrics(every_s=0)


def test_the_dashboard_asks_for_metrics_and_tags_that_exist() -> None:
    board = Board()
    Metrics(instruments=board).opened("photos")
    panels = json.loads(dashboard())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    names: set[str] = set()
    for expression in asked:
        (name,) = set(re.findall(r"ray_(honeydew_\w+)\{", expression))
        names.add(name)
        grouped = {tag for group in re.findall(r"by \(([^)]*)\)", expression) for tag in group.split(", ")}
        tags = set(re.findall(r'(\w+)=~?"', expression)) | grouped
        assert tags - {"le"} <= board.made[name].tags, expression
    assert names == set(board.made) - {"honeydew_events_missed_total"}
    kinds = {kind for expression in asked for group in re.findall(r'kind=~?"([^"]*)"', expression) for kind in group.split("|")}
    assert kinds <= set(EventKind)


def test_the_panels_of_the_dashboard_are_laid_out_without_overlap() -> None:
    panels = json.loads(dashboard())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_what_the_docstrings_show_is_true() -> None:
    assert tuple(doctest.testmod(honeydew_ray.metrics)[:2]) == (0, 2)
