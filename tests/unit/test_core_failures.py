"""What becomes of a job that fails, and of one that fails through no fault of its own."""

from __future__ import annotations

import asyncio

import pytest

from honeydew_ray.decisions import Discard, Requeue
from honeydew_ray.failure_modes.exponential_retry import ExponentialRetry
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobState
from tests.unit.harness import LATENCY_S, TICK, Bench, HangingCaller, Rig, ScriptedMode, SlowCaller, now, virtual


def forgiving() -> Rig:
    """Workers whose state a failed job does not spoil."""
    return Rig(spoils=False)


@virtual
async def test_by_default_a_job_that_raises_goes_to_the_dead_list_and_its_waiter_hears() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit("raise")
    end = await bench.end(job_id)
    assert end.state is JobState.ABANDONED
    assert end.last_error is not None
    assert (end.last_error.kind, end.last_error.class_name) == ("exception", "ValueError")
    assert (end.last_error.attempt, end.last_error.node) == (1, "n1")
    assert end.attempts == 1
    held = await bench.held(job_id)
    assert held is not None
    assert held.state is JobState.ABANDONED


@pytest.mark.parametrize(
    ("script", "kind", "code", "signal"),
    [("exit 0", "exit", 0, None), ("exit 3", "exit", 3, None), ("signal 11", "signal", None, 11)],
)
@virtual
async def test_a_worker_that_dies_under_a_job_fails_it_with_the_reason(
    script: str, kind: str, code: int | None, signal: int | None
) -> None:
    bench = await Bench().open(workers=1)
    end = await bench.end(await bench.submit(script))
    assert end.state is JobState.ABANDONED
    assert end.last_error is not None
    assert (end.last_error.kind, end.last_error.exit_code, end.last_error.signal) == (kind, code, signal)


@pytest.mark.parametrize("times", [0, 1, 3])
@virtual
async def test_retry_starts_a_job_times_plus_one_times(times: int) -> None:
    bench = await Bench(Retry(times), rig=forgiving()).open(workers=1)
    end = await bench.end(await bench.submit("raise"))
    assert end.state is JobState.ABANDONED
    assert end.attempts == len(bench.started()) == times + 1


@virtual
async def test_a_retry_that_succeeds_is_a_success_whose_last_error_shows() -> None:
    bench = await Bench(Retry(3), rig=forgiving()).open(workers=1)
    end = await bench.end(await bench.submit(["raise", "raise", "ok"]))
    assert end.state is JobState.DONE
    assert end.attempts == 3
    assert end.last_error is not None
    assert end.last_error.attempt == 2


@virtual
async def test_a_retry_is_immediate_and_goes_to_the_end_of_the_line() -> None:
    bench = await Bench(Retry(1), rig=forgiving()).open(workers=1)
    failing, other = await bench.submit_all(["raise", "ok"], "ok")
    await bench.ends([failing, other])
    assert bench.started() == [failing, other, failing]
    assert now() < 10 * LATENCY_S


@virtual
async def test_a_retry_with_a_delay_waits_just_so_long() -> None:
    bench = await Bench(Retry(2, delay_s=60), rig=forgiving()).open(workers=1)
    job_id = await bench.submit("raise")
    await asyncio.sleep(59)
    assert await bench.state(job_id) is JobState.DELAYED
    await bench.end(job_id)
    assert bench.start_times(job_id) == pytest.approx([0, 60, 120], abs=0.01)


@virtual
async def test_exponential_retry_starts_at_the_exact_times() -> None:
    bench = await Bench(ExponentialRetry(5), rig=forgiving()).open(workers=1)
    job_id = await bench.submit("raise")
    await bench.end(job_id)
    assert bench.start_times(job_id) == pytest.approx([0, 0, 1, 4, 11, 26], abs=0.02)


@virtual
async def test_the_private_note_reaches_the_next_decision() -> None:
    mode = ScriptedMode(Requeue(private="once"), Requeue(private=["twice"]), Discard())
    bench = await Bench(mode, rig=forgiving()).open(workers=1)
    await bench.end(await bench.submit("raise"))
    assert [job.private for job, _ in mode.asked] == [None, "once", ["twice"]]
    assert [job.failures for job, _ in mode.asked] == [0, 1, 2]


class Unshowable(ScriptedMode):
    def __repr__(self) -> str:
        raise RuntimeError("not even this")


class Faulty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not this either")


@pytest.mark.parametrize(
    ("mode", "trace"),
    [
        (ScriptedMode(KeyError("no such rule")), "no such rule"),
        (ScriptedMode(None), "expected Discard"),
        (ScriptedMode("retry please"), "retry please"),
        (ScriptedMode(Discard), "expected Discard"),
        (Unshowable(KeyError("no such rule")), "no such rule"),
        (ScriptedMode(Faulty()), "__str__ raised"),
    ],
    ids=["raises", "nothing", "nonsense", "class", "unshowable", "unprintable"],
)
@virtual
async def test_a_failure_mode_gone_wrong_ends_in_the_dead_list_with_both_errors(mode: ScriptedMode, trace: str) -> None:
    bench = await Bench(mode).open(workers=1)
    job_id = await bench.submit("raise")
    end = await bench.end(job_id)
    assert end.state is JobState.ABANDONED
    assert end.last_error is not None
    assert end.last_error.class_name == "ValueError"
    assert "as scripted" in end.last_error.message
    assert trace in end.last_error.message
    assert "Traceback" in end.last_error.traceback


@virtual
async def test_a_failure_mode_that_hangs_ends_in_the_dead_list_and_holds_up_nobody() -> None:
    bench = await Bench(caller=HangingCaller(), rig=forgiving()).open(workers=1)
    failing = await bench.submit("raise")
    other = await bench.submit("ok")
    assert (await bench.end(other)).state is JobState.DONE
    assert now() < 1
    end = await bench.end(failing)
    assert end.state is JobState.ABANDONED
    assert "did not return within 10 s" in str(end.last_error)
    assert now() == pytest.approx(10, abs=0.01)


@virtual
async def test_the_worker_need_not_wait_for_the_failure_mode() -> None:
    bench = await Bench(caller=SlowCaller(5), rig=forgiving()).open(workers=1)
    failing, other = await bench.submit_all("raise", "ok")
    await bench.end(other)
    assert now() < 1
    assert await bench.state(failing) is JobState.IN_PROGRESS
    assert (await bench.end(failing)).state is JobState.ABANDONED


# -- timeouts ------------------------------------------------------------------------------------


@virtual
async def test_a_job_beyond_its_timeout_is_killed_to_the_tick_and_fails_as_timeout() -> None:
    bench = await Bench(Retry(1)).open(workers=2)
    begun = now()
    job_id = await bench.submit(["hang", "ok"], timeout_s=10)
    await asyncio.sleep(10 - TICK)
    assert bench.rig.killed == []
    await asyncio.sleep(2 * TICK)
    assert bench.rig.killed == ["w1"]
    end = await bench.end(job_id)
    assert end.state is JobState.DONE
    assert bench.start_times(job_id) == pytest.approx([begun + LATENCY_S, begun + 10 + LATENCY_S], abs=1e-4)
    assert end.last_error is not None
    assert end.last_error.kind == "timeout"
    assert "10 s" in end.last_error.message


@virtual
async def test_a_job_within_its_timeout_is_left_alone() -> None:
    bench = await Bench().open(workers=1)
    assert (await bench.end(await bench.submit("sleep 9.99", timeout_s=10))).state is JobState.DONE
    await asyncio.sleep(100)
    assert bench.rig.killed == []
    assert (await bench.end(await bench.submit("ok"))).state is JobState.DONE


@pytest.mark.parametrize("early_s", [-1e-6, 0.0, 1e-6])
@virtual
async def test_a_job_that_ends_as_its_time_runs_out_ends_once_in_one_way(early_s: float) -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit(f"sleep {10 - LATENCY_S - early_s}", timeout_s=10)
    end = await bench.end(job_id)
    if end.state is JobState.ABANDONED:
        assert end.last_error is not None
        assert end.last_error.kind == "timeout"
        assert await bench.held(job_id) is not None
    else:
        assert end.state is JobState.DONE
        assert await bench.held(job_id) is None
    if "w1" in bench.rig.killed:
        assert not bench.core.workforce.available(), "a worker that was killed is given no more jobs"
    assert bench.core.floor.monitors == {}
