"""What is asked of the store for those who ask how their jobs end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.failure import Failure
from honeydew_ray.inquiries import Inquiries
from honeydew_ray.job import JobState
from honeydew_ray.replies import Replies
from honeydew_ray.stores._file import JobFile
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver, make_job

NOW = 1_700_000_000.0
FAILURE = Failure("exception", "ValueError", "bad photo")


def test_a_restarted_queue_reads_no_arguments_to_say_how_jobs_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the jobs of all who wait: their arguments may be more than its memory holds."""
    with StoreDriver(SQLiteStore(tmp_path / "jobs.db")) as before:
        before.enqueue(*(lifecycle.enqueued(make_job(name, args=["x" * 100_000]), "test", NOW) for name in ("dead", "waits")))
        before.nack(lifecycle.abandoned(before.claim_one(NOW, only="dead"), FAILURE, NOW))
    monkeypatch.setattr(JobFile, "payloads", None)

    async def ask() -> None:
        store, replies = SQLiteStore(tmp_path / "jobs.db"), Replies(600.0)
        await store.open("test")
        try:
            assert await Inquiries(store, replies, lambda _: None).expect(["dead", "waits", "nobody"], "me") == ["nobody"]
        finally:
            await store.close()
        (_, end), = await replies.collect("me", 0, 1.0)
        assert (end.id, end.state) == ("dead", JobState.ABANDONED)
        assert end.last_error is not None
        assert end.last_error.message == "bad photo"

    asyncio.run(ask())
