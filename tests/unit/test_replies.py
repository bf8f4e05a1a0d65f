"""The ends of jobs: numbered, acknowledged, kept within bounds, and sent to whoever waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.job import JobRecord
from honeydew_ray.payload import Payload
from honeydew_ray.replies import CLIENT_SILENCE_S, LINGER_S, MANY_OUTSTANDING, Replies
from honeydew_ray.testing.jobs import make_job
from tests.unit.harness import TICK, now, virtual


def done(job_id: str, client: str | None = None, nbytes: int = 10, completed_at: float = 0.0) -> JobRecord:
    return lifecycle.succeeded(lifecycle.claimed(make_job(job_id, client=client), "i.1", 0.0), completed_at, Payload(b"x" * nbytes))


def waited_for(*bounds: Any, **more: Any) -> Replies:
    """Replies that know these clients, as they know who submits."""
    replies = Replies(*bounds, **more)
    for client in ("me", "other", "silent", "one", "two"):
        replies.submitted(client, 0)
    return replies


async def poll(replies: Replies, client: str = "me", acknowledged: int = 0, patience_s: float = 0.0) -> list[tuple[int, Any]]:
    return [(number, end.id) for number, end in await replies.collect(client, acknowledged, patience_s)]


async def names(replies: Replies, client: str = "me") -> list[Any]:
    return [name for _, name in await poll(replies, client)]


@virtual
async def test_ends_are_numbered_and_stay_until_they_are_acknowledged() -> None:
    replies = waited_for(600)
    for job_id in "abc":
        replies.ended(done(job_id, "me"))
    ends = await poll(replies)
    assert [name for _, name in ends] == ["a", "b", "c"]
    numbers = [number for number, _ in ends]
    assert numbers == sorted(set(numbers))
    assert await poll(replies) == ends, "the answer was lost: the same again"
    assert await poll(replies, acknowledged=numbers[1]) == ends[2:]
    assert await poll(replies, acknowledged=numbers[2]) == []


@virtual
async def test_a_poll_waits_for_the_first_end_and_not_longer_than_its_patience() -> None:
    replies = waited_for(600)
    waiting = asyncio.ensure_future(poll(replies, patience_s=10))
    await asyncio.sleep(3)
    replies.ended(done("a", "me"))
    replies.ended(done("b", "me"))
    assert [name for _, name in await waiting] == ["a", "b"]
    assert now() == pytest.approx(3, abs=TICK)
    assert await poll(replies, acknowledged=99, patience_s=10) == []
    assert now() == pytest.approx(13, abs=TICK)


@virtual
async def test_a_client_with_many_jobs_outstanding_gets_many_ends_at_once() -> None:
    replies = waited_for(600)
    replies.submitted("me", MANY_OUTSTANDING + 10)
    replies.submitted("other", 1)
    many, few = asyncio.ensure_future(poll(replies, patience_s=10)), asyncio.ensure_future(poll(replies, "other", patience_s=10))
    await asyncio.sleep(1)
    for number in range(10):
        replies.ended(done(f"m{number}", "me"))
        if number == 0:
            replies.ended(done("o", "other"))
        await asyncio.sleep(LINGER_S / 20)
    assert few.done()
    assert len(await many) == 10
    assert now() == pytest.approx(1 + LINGER_S, abs=1e-6)


@virtual
async def test_each_client_gets_its_own_ends_and_those_that_it_asked_for() -> None:
    replies = waited_for(600)
    replies.expect("a", "two")
    replies.expect("a", "two")
    replies.ended(done("a", "one"))
    replies.ended(done("b", "two"))
    replies.ended(done("c"))
    assert await names(replies, "one") == ["a"]
    assert await names(replies, "two") == ["a", "b"]
    replies.expect("c", "one")
    assert await names(replies, "one") == ["a", "c"]


@virtual
async def test_who_submitted_and_asked_besides_gets_one_end() -> None:
    replies = waited_for(600)
    replies.expect("a", "me")
    replies.ended(done("a", "me"))
    assert await names(replies) == ["a"]


@virtual
async def test_an_end_is_kept_for_its_time_and_not_longer() -> None:
    replies = waited_for(100)
    replies.ended(done("a"))
    await asyncio.sleep(100 - TICK)
    assert replies.find("a") is not None
    await asyncio.sleep(2 * TICK)
    assert replies.find("a") is None


@virtual
async def test_times_of_completion_that_jump_do_not_change_how_long_ends_are_kept() -> None:
    replies = waited_for(100)
    replies.ended(done("a", completed_at=1e9))
    replies.ended(done("b", completed_at=0.0))
    await asyncio.sleep(50)
    assert replies.find("a") is not None
    assert replies.find("b") is not None
    await asyncio.sleep(51)
    assert replies.find("a") is None
    assert replies.find("b") is None


@virtual
async def test_the_oldest_ends_go_when_there_are_too_many() -> None:
    replies = waited_for(600, max_kept=3)
    for job_id in "abcde":
        replies.ended(done(job_id))
    assert [job_id for job_id in "abcde" if replies.find(job_id)] == ["c", "d", "e"]


@virtual
async def test_the_oldest_ends_go_when_they_are_too_large_but_never_the_last() -> None:
    replies = waited_for(600, max_kept_bytes=25)
    for job_id in "abc":
        replies.ended(done(job_id, nbytes=10))
    assert [job_id for job_id in "abc" if replies.find(job_id)] == ["b", "c"]
    replies.ended(done("d", nbytes=1000))
    assert [job_id for job_id in "abcd" if replies.find(job_id)] == ["d"]
    replies.ended(done("d", nbytes=5))
    replies.ended(done("e", nbytes=20))
    assert [job_id for job_id in "de" if replies.find(job_id)] == ["d", "e"], "what was replaced no longer counts"


@virtual
async def test_what_was_dropped_is_no_longer_kept() -> None:
    replies = waited_for(600)
    replies.ended(done("a"))
    replies.drop("a")
    replies.drop("a")
    assert replies.find("a") is None
    assert replies._kept_bytes == 0


@virtual
async def test_an_end_waits_for_its_client_beyond_the_time_that_ends_are_kept() -> None:
    replies = waited_for(100, max_kept=1)
    replies.ended(done("a", "me"))
    replies.ended(done("b", "me"))
    await asyncio.sleep(150)
    assert await names(replies) == ["a", "b"]


@virtual
async def test_a_client_that_is_silent_for_long_is_forgotten_and_one_that_asks_is_not() -> None:
    replies = waited_for(600)
    replies.ended(done("a", "silent"))
    replies.expect("never", "silent")
    for number in range(20):
        await poll(replies, "loud", patience_s=CLIENT_SILENCE_S / 10)
        replies.ended(done(f"b{number}"))
    assert replies.knows("loud")
    assert not replies.knows("silent")
    assert await names(replies, "silent") == []


@virtual
async def test_a_client_that_was_forgotten_and_is_back_loses_no_new_end() -> None:
    replies = waited_for(600)
    for job_id in "abc":
        replies.ended(done(job_id, "me"))
    cursor = (await poll(replies))[-1][0]
    await asyncio.sleep(CLIENT_SILENCE_S + 1)
    replies.ended(done("x"))
    assert not replies.knows("me")
    replies.ended(done("d", "me"))  # nothing piles up for one that has left
    assert await poll(replies, acknowledged=cursor) == []
    replies.expect("d", "me")  # back, it asks for what it waits for
    assert [name for _, name in await poll(replies, acknowledged=cursor)] == ["d"]


@virtual
async def test_forgetting_a_client_lets_its_poll_go_and_leaves_the_others() -> None:
    replies = waited_for(600)
    replies.expect("a", "me")
    replies.expect("a", "other")
    replies.expect("b", "me")
    waiting = asyncio.ensure_future(poll(replies, patience_s=1000))
    await asyncio.sleep(1)
    replies.forget("me")
    replies.forget("me")
    assert await waiting == []
    assert now() < 2
    replies.ended(done("a"))
    assert await names(replies, "other") == ["a"]
    assert await names(replies, "me") == []
    assert replies._waiting == {}


@virtual
async def test_closing_lets_everybody_go_with_what_there_is() -> None:
    replies = waited_for(600)
    waiting = asyncio.ensure_future(poll(replies, patience_s=1000))
    await asyncio.sleep(1)
    replies.close()
    assert await waiting == []
    assert await poll(replies, "late", patience_s=1000) == []
    assert now() < 2
    replies.ended(done("a", "me"))
    assert await names(replies) == ["a"]
