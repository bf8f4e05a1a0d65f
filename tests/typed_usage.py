# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What a type checker knows of the public API; it is checked, not run."""

from __future__ import annotations

import math
from typing import Any

import sqlalchemy as sa
from typing_extensions import assert_type

import honeydew_ray as honeydew
from honeydew_ray.testing import Inline


class Classifier:
    def __init__(self, weights: str) -> None: ...

    def classify(self, photo: bytes, *, top: int = 1) -> str:
        return ""


def usage(photos: honeydew.Queue) -> None:
    assert_type(photos.submit(Classifier.classify, b"photo"), honeydew.Job[str])
    assert_type(photos.submit(Classifier.classify, b"photo", top=3).result(timeout=5), str)
    assert_type(photos.submit(math.sqrt, 2).result(), float)
    assert_type(photos.options(delay_s=3).submit(Classifier.classify, b"photo"), honeydew.Job[str])
    assert_type(photos.submit(Classifier.classify, b"photo").move("other"), honeydew.Job[str])
    photos.start_workers(Classifier, "weights", num=(0, 8), idle_timeout_s=30, nodes={"zone": "a"})
    photos.start_workers(Classifier, "weights", num_per_node=2, nodes=["10.0.0.7"], probe_timeout_s=10)
    honeydew.start_queue("photos", dispatcher=honeydew.Locality(), node_loss="fail")
    photos.submit(Classifier.classify, 42)  # pyright: ignore[reportCallIssue, reportArgumentType]
    photos.submit(Classifier.classify)  # pyright: ignore[reportCallIssue]


def tables(table: sa.Table) -> None:
    store = honeydew.PollStore("postgresql+psycopg://db/app", table, run_if=table.c.size > 0, task=lambda key, queue: ("classify", key))
    assert_type(honeydew.start_queue("photos", store=store).filter(table.c.size > 3), list[honeydew.Job[Any]])
    honeydew.add_queue_columns(table, "photos")


def looking(photos: honeydew.Queue) -> None:
    jobs = photos.submit_many("classify", ["a", "b"])
    photos.progress_bar(jobs)
    assert_type(jobs[0].wait(5), bool)
    assert_type(photos.watch(interval_s=1), honeydew.LiveView)
    photos.map("classify", ["a"], progress=True)
    photos.start_workers(Classifier, "weights", replace=True)
    for event in photos.events(kinds=["failed", honeydew.EventKind.MOVED]):
        assert_type(event, honeydew.Event)
        assert_type(event.failure, honeydew.Failure | None)
    assert_type(honeydew.timeline(photos, "other"), honeydew.Timeline)


def testing(inline: Inline) -> None:
    queue = inline.start_queue("photos", failure_mode=honeydew.Retry(times=1), subscribers=[honeydew.Metrics()])
    assert_type(queue.submit(Classifier.classify, b"photo").result(), str)
    assert_type(queue.step(), bool)


async def waiting(photos: honeydew.Queue) -> None:
    assert_type(await photos.submit(Classifier.classify, b"photo"), str)
