"""A job for those who only look at it."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from honeydew_ray import views
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord
from honeydew_ray.outward import outward
from honeydew_ray.payload import HeldBuffer, Payload, dumps_call
from honeydew_ray.stores.base import Query
from tests.unit.harness import Bench, virtual


class Note:
    def __reduce__(self) -> str:
        raise AssertionError("the note was pickled")


def test_it_is_described_and_brings_nothing_along() -> None:
    data, _ = dumps_call(None, ("img.png",), {}, "arguments")
    failure = Failure("exception", "OSError", "gone", exception=b"pickled")
    job = JobRecord("j", "q", "m", Payload(data, (HeldBuffer(b"x" * 500),)), private=Note(), last_error=failure, result=Payload(b"r"))
    seen = pickle.loads(pickle.dumps(outward(job)))
    assert seen.private == "<tests.unit.test_outward.Note>"
    assert seen.last_error == replace(failure, exception=None)
    assert seen.result is None
    assert seen.payload.nbytes == job.payload.nbytes
    assert views.arguments_of(seen) == "'img.png'"
    with pytest.raises(LookupError, match="500 bytes were left out"):
        seen.payload.buffers[0].fetch()


def test_large_arguments_are_only_measured() -> None:
    job = JobRecord("j", "q", "m", Payload(b"x" * 100_000))
    assert outward(job).payload.data == b""
    assert views.arguments_of(outward(job)) == "<100,000 bytes>"


@virtual
async def test_a_queue_lists_such_jobs() -> None:
    bench = await Bench().open()
    jobs = await bench.submit_all("ok", "ok", "ok")
    first = await bench.core.listing(Query(), None, 2)
    rest = await bench.core.listing(Query(), first.cursor, 2)
    assert [job.id for job in [*first.jobs, *rest.jobs]] == jobs
    assert rest.cursor is None
