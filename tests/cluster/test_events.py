"""Events of a real queue: read by a driver, and delivered to subscribers in the queue's process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import honeydew_ray as honeydew
from honeydew_ray import Event, EventKind, EventStream
from tests.cluster.crew import Crew

Start = Callable[..., honeydew.Queue]


class Notebook(honeydew.Subscriber):
    """Writes what it is told to a file, and raises now and then."""

    status_every_s = 0.05

    def __init__(self, path: Path) -> None:
        self._path = path

    def opened(self, queue: str) -> None:
        self._note("opened", queue, os.getpid())

    def received(self, events: Sequence[Event], missed: int) -> None:
        for event in events:
            self._note("event", str(event.kind), event.job_id)
        raise RuntimeError("a subscriber may raise")

    def looked(self, status: honeydew.QueueStatus) -> None:
        self._note("looked", status.name, status.abandoned)

    def closed(self) -> None:
        self._note("closed")

    def notes(self) -> list[list[object]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def _note(self, *what: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(what) + "\n")


def until(stream: EventStream, kind: EventKind) -> list[Event]:
    """Read up to an event of this kind."""
    seen: list[Event] = []
    for event in stream:
        seen.append(event)
        if event.kind is kind:
            break
    return seen


def test_a_driver_reads_what_happens(new_queue: Start) -> None:
    queue = new_queue()
    stream = queue.events()
    queue.start_workers(Crew, num=1, rebuild="never")
    good = queue.submit("add", 1)
    good.result(timeout=60)
    bad = queue.submit("die", "raise")
    seen = until(stream, EventKind.ABANDONED)
    assert [str(event.kind) for event in seen if event.job_id == good.id] == ["enqueued", "started", "succeeded"]
    assert [str(event.kind) for event in seen if event.job_id == bad.id] == ["enqueued", "started", "failed", "abandoned"]
    (worker,) = (event for event in seen if event.kind is EventKind.WORKER_STARTED)
    assert worker.pid == queue.status().workers[0].pid
    assert {event.worker for event in seen if event.kind is EventKind.STARTED} == {worker.worker}
    assert stream.missed == 0
    failures = list(queue.events(history=True, follow=False, kinds=["failed"]))
    assert [event.job_id for event in failures] == [bad.id]
    assert list(queue.events(follow=False)) == []
    assert next(iter(queue.events(history=True))).kind is EventKind.QUEUE_STARTED


def test_the_stream_goes_on_with_the_next_process_of_the_queue(new_queue: Start, tmp_path: Path) -> None:
    queue = new_queue(store=honeydew.SQLiteStore(tmp_path / "jobs.db"))
    stream = queue.events(history=True)
    assert next(stream).kind is EventKind.QUEUE_STARTED
    pid = queue.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    job = queue.submit("add", 1)
    seen = until(stream, EventKind.ENQUEUED)
    assert [str(event.kind) for event in seen] == ["queue_started", "enqueued"]
    assert seen[-1].job_id == job.id


def test_subscribers_live_in_the_process_of_the_queue(new_queue: Start, tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "notes")
    queue = new_queue(subscribers=[notebook, honeydew.Metrics(every_s=0.05), honeydew.LogEvents()])
    pid = queue.status().pid
    queue.start_workers(Crew, num=1)
    job = queue.submit("add", 1)
    job.result(timeout=60)
    queue.stop()
    notes = notebook.notes()
    assert notes[0] == ["opened", queue.name, pid]
    assert [note[1] for note in notes if note[0] == "event" and note[2] == job.id] == ["enqueued", "started", "succeeded"]
    assert ["looked", queue.name, 0] in notes
    assert notes[-1] == ["closed"]
