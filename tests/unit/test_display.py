"""Queues and jobs in a notebook and on a terminal: complete, and safe whatever their names and arguments hold."""

from __future__ import annotations

import datetime
import io
import json
import re
import uuid
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console, RenderableType

from honeydew_ray import cards, display, terminal, views
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, JobSnapshot, JobState
from honeydew_ray.payload import Payload, dumps_call
from honeydew_ray.rates import Looks, Rates
from honeydew_ray.status import QueueStatus, WorkerState, WorkerStatus

HOSTILE = '<script>alert("x")</script>\x1b[31m\u202e\r\n\x00&amp;'
ALLOWED = {"div", "b", "span", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre", "svg", "polyline"}


def worker(number: int, state: WorkerState = WorkerState.IDLE, **more: Any) -> WorkerStatus:
    return WorkerStatus(f"q/default/{number}-1a", "node", state, pid=100 + number, **more)


def status(*workers: WorkerStatus, **more: Any) -> QueueStatus:
    counts = {"pending": 3, "delayed": 1, "in_progress": 1, "abandoned": 2, "suspended": False, "succeeded": 1234, "failed": 5, **more}
    return QueueStatus("q", store="MemoryStore", workers=list(workers), **counts)


HOSTILE_STATUS = QueueStatus(HOSTILE, 1, 0, 1, 0, True, HOSTILE, [
    worker(0, WorkerState.BUSY, job=HOSTILE, progress=HOSTILE, group=HOSTILE),
    worker(1, WorkerState.FAILED_INIT, error=HOSTILE),
    worker(2, WorkerState.BUSY, job=(HOSTILE, 1), progress={HOSTILE: [HOSTILE]}),
], trouble=HOSTILE)


def hostile_record() -> JobRecord:
    data, _ = dumps_call(None, (HOSTILE,), {HOSTILE: HOSTILE}, "arguments")
    failure = Failure("exception", HOSTILE, HOSTILE, HOSTILE, attempt=1, node=HOSTILE)
    return JobRecord(HOSTILE, HOSTILE, HOSTILE, Payload(data), last_error=failure, state=JobState.ABANDONED, private=HOSTILE,
                     enqueued_at=1.0, started_at=2.0, completed_at=3.0, moved_to=HOSTILE)


def hostile_snapshot() -> JobSnapshot:
    return JobSnapshot.of(hostile_record(), progress=HOSTILE)


class Tags(HTMLParser):
    """The tags and attributes of a piece of HTML, which must nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(shown: RenderableType, width: int = 160) -> str:
    written = io.StringIO()
    Console(file=written, width=width, markup=False, highlight=False).print(shown)
    return written.getvalue()


HTML = {
    "status": lambda: cards.status_card(HOSTILE_STATUS, Rates(2.0, 1.0, (1, 2), (1.0, 2.0))).html,
    "status as itself": lambda: HOSTILE_STATUS._repr_html_(),
    "job": lambda: cards.job_card(HOSTILE, hostile_snapshot(), hostile_record()).html,
    "gone": lambda: cards.gone_card(f"queue {HOSTILE}", ValueError(HOSTILE)).html,
    "bar": lambda: display.join([HOSTILE, display.bar(1, 1, 4)]).html,
}


@pytest.mark.parametrize("make", HTML.values(), ids=HTML)
def test_hostile_names_are_shown_and_do_nothing(make: Any) -> None:
    html = make()
    tags = Tags(html)
    assert tags.open == []
    assert tags.seen <= ALLOWED
    assert not {name for name in tags.attributes if name.startswith("on")} and "src" not in tags.attributes
    assert "<script>alert" in tags.text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", html)


TEXT = {
    "queues": lambda: terminal.queues_table([(HOSTILE, HOSTILE_STATUS), (HOSTILE, TimeoutError(HOSTILE))]),
    "status": lambda: terminal.status_view(HOSTILE_STATUS, Rates()),
    "jobs": lambda: terminal.jobs_table([hostile_record()]),
    "job": lambda: terminal.job_view(HOSTILE, hostile_snapshot(), hostile_record()),
}


@pytest.mark.parametrize("make", TEXT.values(), ids=TEXT)
def test_hostile_names_send_no_control_characters_to_the_terminal(make: Any) -> None:
    text = rendered(make(), width=400)
    assert "<script>" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_hostile_names_are_json_like_any_other() -> None:
    for view in (views.status_view(HOSTILE_STATUS), views.job_view(hostile_record()), views.snapshot_view(HOSTILE, hostile_snapshot())):
        text = json.dumps(view)
        assert text.isascii() and text.isprintable()
    assert views.status_view(HOSTILE_STATUS)["workers"][2]["job"] == [HOSTILE, 1]
    assert views.job_view(hostile_record())["id"] == HOSTILE


def test_a_status_shows_its_counts_and_the_busy_workers_first() -> None:
    idle = [worker(number) for number in range(50)]
    one = status(*idle, worker(60, WorkerState.BUSY, job="j1", progress="3/5"), suspended=True)
    for text in (rendered(terminal.status_view(one)), Tags(cards.status_card(one).html).text):
        assert "1,234" in text and "suspended" in text and "j1" in text and "3/5" in text
        assert text.index("default/60 (pid 160)") < text.index("default/0 (pid 100)")
        assert "more workers" in text
    troubled = status(trouble="no way to the database")
    for text in (rendered(terminal.status_view(troubled)), cards.status_card(troubled).html):
        assert "no way to the database" in text
    assert "no workers" in rendered(terminal.status_view(status()))
    assert "no workers" in cards.status_card(status()).html


def test_a_job_shows_what_it_was_given_and_how_it_failed() -> None:
    data, _ = dumps_call(None, ("img.png",), {"top": 3}, "arguments")
    record = JobRecord("j1", "q", "classify", Payload(data), state=JobState.ABANDONED, enqueued_at=10.0, started_at=11.5, completed_at=12.0,
                       failures=2, last_error=Failure("exception", "OSError", "disk <gone>", "Traceback ...\n  line\n"))
    for text in (Tags(cards.job_card("q", JobSnapshot.of(record), record).html).text,
                 rendered(terminal.job_view("q", JobSnapshot.of(record), record))):
        for part in ("j1", "abandoned", "classify", "'img.png', top=3", "OSError: disk <gone>", "Traceback ...", "2"):
            assert part in text
    assert "1.500 s" in cards.job_card("q", JobSnapshot.of(record), record).html
    without = cards.job_card("q", JobSnapshot.of(record), None).html
    assert "img.png" not in without


KEYS: list[tuple[Any, str]] = [
    (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"), (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"), (Decimal("1.50"), "1.50"),
]


@pytest.mark.parametrize(("key", "shown"), KEYS, ids=[shown for _, shown in KEYS])
def test_the_key_of_a_row_is_shown_as_text(key: Any, shown: str) -> None:
    for job_id, seen in ((key, shown), ((1, key), [1, shown])):
        record = JobRecord(job_id, "q", "run", Payload(b""))
        assert views.job_view(record)["id"] == seen
        assert views.snapshot_view("q", JobSnapshot.of(record))["id"] == seen
        busy = status(worker(1, WorkerState.BUSY, job=job_id))
        assert views.status_view(busy)["workers"][0]["job"] == seen
        for text in (rendered(terminal.jobs_table([record])), rendered(terminal.job_view("q", JobSnapshot.of(record), record)),
                     rendered(terminal.status_view(busy)), Tags(cards.status_card(busy).html).text,
                     Tags(cards.job_card("q", JobSnapshot.of(record), record).html).text):
            assert shown in text


class Loud(Decimal):
    def __str__(self) -> str:
        raise AssertionError("it was asked for its text")


def test_a_key_of_a_class_of_the_users_is_not_asked_for_its_text() -> None:
    assert views.id_view(Loud(1)) == "<tests.unit.test_display.Loud>"


def test_when_a_job_was_enqueued_is_left_out_if_nobody_knows() -> None:
    data, _ = dumps_call(None, (7,), {}, "arguments")
    record = JobRecord(7, "q", "run", Payload(data), enqueued_at=None)
    snapshot = JobSnapshot.of(record)
    assert (views.job_view(record)["enqueued_at"], views.job_view(record)["due_at"]) == (None, None)
    assert views.snapshot_view("q", snapshot)["enqueued_at"] is None
    for text in (rendered(terminal.jobs_table([record])), rendered(terminal.job_view("q", snapshot, record))):
        assert "run" in text and "ago" not in text
    started = record._replace(state=JobState.IN_PROGRESS, started_at=5.0)
    assert "waited" not in cards.job_card("q", JobSnapshot.of(started), started).html


def test_a_bar_and_a_chart_stay_within_their_width() -> None:
    widths = [int(px) for px in re.findall(r"height:10px;width:(\d+)px", display.bar(30, 10, 40, 200).html)]
    assert widths == [150, 50]
    assert re.findall(r"height:10px;width:(\d+)px", display.bar(7, 0, 5, 100).html) == ["100", "0"]
    assert display.bar(0, 0, 0).html and display.bar(0, 0, None).html
    points = re.search(r'points="([^"]*)"', display.chart((0.0, 4.0, 2.0), width_px=100, height_px=20).html)
    assert points is not None and points[1] == "0.0,19.0 50.0,1.0 100.0,10.0"
    assert "polyline" not in display.chart(()).html


def test_rates_are_measured_between_looks() -> None:
    looks = Looks(window_s=5.0)
    assert looks.add(0.0, status(succeeded=0, failed=0)) == Rates(0.0, 0.0, (5,), ())
    assert looks.add(1.0, status(succeeded=10, failed=1)) == Rates(10.0, 1.0, (5, 5), (10.0,))
    assert looks.add(3.0, status(succeeded=10, failed=1)).history == (10.0, 0.0)
    rates = looks.add(9.0, status(succeeded=40, failed=1))  # no other look within the window: since the last one
    assert rates.succeeded == 5.0
    anew = looks.add(10.0, status(succeeded=0, failed=0))  # the queue's process began anew
    assert (anew.succeeded, anew.failed) == (0.0, 0.0)
    assert looks.add(11.0, status(succeeded=3, failed=0)).succeeded == 3.0
    assert looks.add(11.0, status(succeeded=3, failed=0)).succeeded == 3.0  # twice at one time


def test_a_sparkline_is_as_long_as_its_history_up_to_its_width() -> None:
    assert Rates(history=(0.0, 5.0, 10.0)).sparkline() == "▁▄█"
    assert Rates(history=(0.0, 0.0)).sparkline() == "▁▁"
    assert len(Rates(history=tuple(map(float, range(99)))).sparkline(30)) == 30
    assert Rates().sparkline() == ""
