"""What becomes of a failed job."""

from __future__ import annotations

import inspect
import logging
import math
import pickle
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honeydew_ray import lifecycle
from honeydew_ray.decisions import Discard, MoveTo, Requeue
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.failure_modes.exponential_retry import ExponentialRetry
from honeydew_ray.failure_modes.move import Move
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.success_modes.log import Log
from honeydew_ray.testing import make_job
from honeydew_ray.testing.success_mode_contract import done_job

FAILURE = Failure("exception", "ValueError", "bad photo")
NOW = 1_700_000_000.0


def failed(failures=0, job_id="job", **facts):
    """A job in progress that failed so many times before."""
    return lifecycle.claimed(make_job(job_id, failures=failures, **facts), "incarnation", NOW)


def starts_until(mode, last):
    """How often a job starts that always fails, until the mode gives this last decision."""
    job = failed()
    for starts in count(1):
        decision = mode.decide(job, FAILURE)
        if not isinstance(decision, Requeue):
            assert decision == last
            return starts
        assert starts < 1000, "the mode retries for ever"
        job = lifecycle.claimed(lifecycle.retried(job, FAILURE, NOW, decision.delay_s, decision.private), "incarnation", NOW)
    raise AssertionError


def delays(mode, n):
    return [mode.decide(failed(failures), FAILURE).delay_s for failures in range(n)]


class TestAbandonAndMove:
    def test_abandon_discards(self):
        assert Abandon().decide(failed(), FAILURE) == Discard()

    def test_move_moves(self):
        assert Move("dead_letters").decide(failed(), FAILURE) == MoveTo("dead_letters")

    @pytest.mark.parametrize("name", ["", "a b", "-a", "x" * 201, "a/b"])
    def test_move_refuses_a_bad_name(self, name):
        with pytest.raises(ValueError, match=r"Move: queue was .*expected 1 to 200 letters.*for example queue="):
            Move(name)

    def test_move_refuses_what_is_no_name(self):
        with pytest.raises(TypeError, match="Move: queue was 5"):
            Move(5)


class TestRetry:
    @pytest.mark.parametrize("times", [0, 1, 2, 3, 17])
    def test_a_job_starts_times_plus_one_times(self, times):
        assert starts_until(Retry(times), Discard()) == times + 1
        assert starts_until(Retry(times=times, finally_=Move("dead")), MoveTo("dead")) == times + 1

    def test_redeliveries_do_not_count(self):
        assert isinstance(Retry(1).decide(failed(0, redeliveries=50, attempt=50), FAILURE), Requeue)

    def test_it_is_immediate_unless_told_otherwise(self):
        assert Retry(3).decide(failed(), FAILURE) == Requeue(0.0, None)
        assert Retry(3, delay_s=2.5).decide(failed(), FAILURE) == Requeue(2.5, None)

    def test_it_leaves_the_note_on_the_job(self):
        assert Retry(3).decide(failed(private={"n": 1}), FAILURE) == Requeue(0.0, {"n": 1})

    def test_finally_may_be_another_retry_which_counts_the_same_failures(self):
        assert starts_until(Retry(2, finally_=ExponentialRetry(5, finally_=Move("dead"))), MoveTo("dead")) == 6
        assert starts_until(Retry(2, finally_=ExponentialRetry(1)), Discard()) == 3

    def test_a_function_is_called_with_job_failure_and_mode(self):
        seen = []
        mode = Retry(fun=lambda *args: seen.append(args))
        job = failed(4)
        mode.decide(job, FAILURE)
        assert seen == [(job, FAILURE, mode)]

    def test_a_function_decides_without_times(self):
        mode = Retry(fun=lambda job, failure, mode: Requeue(7.0, (job.private or 0) + 1) if job.failures < 4 else None)
        assert mode.decide(failed(1, private=1), FAILURE) == Requeue(7.0, 2)
        assert starts_until(mode, Discard()) == 5

    def test_a_function_that_halts_leaves_the_job_to_finally(self):
        assert Retry(9, fun=lambda job, failure, mode: None, finally_=Move("dead")).decide(failed(), FAILURE) == MoveTo("dead")

    def test_times_bounds_a_function(self):
        calls = []

        def again(job, failure, mode):
            calls.append(job.failures)
            return Requeue()

        assert starts_until(Retry(2, fun=again), Discard()) == 3
        assert calls == [0, 1]

    @pytest.mark.parametrize("answer", [True, 5, Discard(), MoveTo("x"), "again", (1, 2)])
    def test_any_other_answer_of_a_function_is_refused(self, answer):
        with pytest.raises(TypeError, match=r"the answer of fun was .*expected Requeue\(delay_s, private\), or None to halt; for example"):
            Retry(fun=lambda job, failure, mode: answer).decide(failed(), FAILURE)

    def test_an_error_of_the_function_is_not_hidden(self):
        with pytest.raises(ZeroDivisionError):
            Retry(fun=lambda job, failure, mode: 1 / 0).decide(failed(), FAILURE)

    @pytest.mark.parametrize(
        "fun",
        [lambda: None, lambda job: None, lambda job, failure: None, lambda a, b, c, d: None, lambda a, b, c, *, d: None],
        ids=["0", "1", "2", "4", "3 and a keyword"],
    )
    def test_a_function_of_the_wrong_arity_is_refused(self, fun):
        with pytest.raises(TypeError, match=r"Retry: fun was <function .*three arguments: job, failure, mode; it takes \(.*example fun="):
            Retry(fun=fun)

    @pytest.mark.parametrize("fun", [lambda a, b, c: None, lambda *args: None, lambda a, b, c, d=1: None, max])
    def test_a_function_that_can_take_three_arguments_is_taken(self, fun):
        assert Retry(fun=fun).fun is fun

    def test_an_async_function_is_refused(self):
        async def later(job, failure, mode):
            return None

        with pytest.raises(TypeError, match="not async"):
            Retry(fun=later)

    def test_neither_times_nor_function_is_refused(self):
        with pytest.raises(ValueError, match=r"Retry: times was None, expected a number of retries, or fun=.*; for example times=3"):
            Retry()

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"times": -1}, ValueError),
            ({"times": 1.5}, TypeError),
            ({"times": True}, TypeError),
            ({"times": "3"}, TypeError),
            ({"fun": "again"}, TypeError),
            ({"times": 1, "finally_": Abandon}, TypeError),
            ({"times": 1, "finally_": None}, TypeError),
            ({"times": 1, "delay_s": -1}, ValueError),
            ({"times": 1, "delay_s": math.nan}, ValueError),
            ({"times": 1, "delay_s": "1"}, TypeError),
        ],
    )
    def test_bad_arguments_are_refused_where_they_are_written(self, arguments, error):
        [*_, name] = arguments
        with pytest.raises(error, match=rf"^Retry: {name} was .*expected .*; for example {name}="):
            Retry(**arguments)


class TestExponentialRetry:
    @pytest.mark.parametrize("times", [0, 1, 2, 3, 17])
    def test_a_job_starts_times_plus_one_times(self, times):
        assert starts_until(ExponentialRetry(times, finally_=Move("dead")), MoveTo("dead")) == times + 1

    def test_waits_grow_as_base_to_the_n_less_one(self):
        assert delays(ExponentialRetry(9), 6) == [0, 1, 3, 7, 15, 31]
        assert delays(ExponentialRetry(9, base=3), 4) == [0, 2, 8, 26]
        assert delays(ExponentialRetry(9, base=1.5), 3) == [0, 0.5, 1.25]
        assert delays(ExponentialRetry(9, base=1), 4) == [0, 0, 0, 0]

    def test_no_wait_is_longer_than_the_longest(self):
        assert delays(ExponentialRetry(99, max_delay_s=7), 5) == [0, 1, 3, 7, 7]
        assert delays(ExponentialRetry(99, max_delay_s=7.5), 5) == [0, 1, 3, 7, 7.5]
        assert delays(ExponentialRetry(99, max_delay_s=6.5), 5) == [0, 1, 3, 6.5, 6.5]
        assert delays(ExponentialRetry(99, max_delay_s=0), 3) == [0, 0, 0]
        assert delays(ExponentialRetry(99), 14)[-3:] == [2047, 3600, 3600]

    @given(st.integers(0, 10**18), st.floats(1, 1e300), st.floats(0, 1e300), st.floats(0, 1))
    def test_no_number_overflows(self, failures, base, longest, jitter):
        mode = ExponentialRetry(10**18 + 1, base=base, max_delay_s=longest, jitter=jitter)
        assert 0 <= mode.decide(failed(failures), FAILURE).delay_s <= longest

    @given(st.text(), st.integers(1, 10), st.floats(0, 1))
    def test_jitter_keeps_within_its_fraction(self, job_id, failures, jitter):
        plain = 2**failures - 1
        wait = ExponentialRetry(99, jitter=jitter).decide(failed(failures, job_id), FAILURE).delay_s
        assert plain * (1 - jitter) * (1 - 1e-12) <= wait <= plain * (1 + jitter) * (1 + 1e-12)

    def test_jitter_spreads_jobs_evenly(self):
        mode = ExponentialRetry(99, jitter=0.5)
        waits = [mode.decide(failed(4, f"job {n}"), FAILURE).delay_s / 15 for n in range(2000)]
        assert 0.5 <= min(waits) < 0.51
        assert 1.49 < max(waits) <= 1.5
        assert abs(sum(waits) / len(waits) - 1) < 0.02

    def test_jitter_differs_from_failure_to_failure(self):
        mode = ExponentialRetry(99, jitter=0.5)
        factors = {wait / (2 ** (n + 1) - 1) for n, wait in enumerate(delays(mode, 11)[1:])}
        assert len(factors) == 10

    def test_jitter_never_exceeds_the_longest_wait(self):
        mode = ExponentialRetry(99, jitter=1, max_delay_s=10)
        waits = [mode.decide(failed(40, f"job {n}"), FAILURE).delay_s for n in range(100)]
        assert max(waits) == 10
        assert min(waits) < 5

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"times": None}, TypeError),
            ({"times": -1}, ValueError),
            ({"times": 1, "base": 0.5}, ValueError),
            ({"times": 1, "base": math.inf}, ValueError),
            ({"times": 1, "base": "2"}, TypeError),
            ({"times": 1, "jitter": -0.1}, ValueError),
            ({"times": 1, "jitter": 1.01}, ValueError),
            ({"times": 1, "max_delay_s": -1}, ValueError),
            ({"times": 1, "max_delay_s": math.inf}, ValueError),
            ({"times": 1, "finally_": Abandon}, TypeError),
        ],
    )
    def test_bad_arguments_are_refused_where_they_are_written(self, arguments, error):
        [*_, name] = arguments
        with pytest.raises(error, match=rf"^ExponentialRetry: {name} was .*expected .*; for example {name}="):
            ExponentialRetry(**arguments)

    def test_a_note_of_another_mode_stays_with_the_job(self):
        assert ExponentialRetry(3).decide(make_job(private="a note"), FAILURE).private == "a note"

    def test_times_must_be_given(self):
        with pytest.raises(TypeError, match="times"):
            ExponentialRetry()


@pytest.mark.parametrize("mode", [Abandon(), Move("x"), Retry(3, delay_s=1), ExponentialRetry(3, jitter=0.1), Log()], ids=repr)
def test_a_mode_is_a_value(mode):
    copy = pickle.loads(pickle.dumps(mode))
    assert copy == mode
    assert hash(copy) == hash(mode)
    assert eval(repr(mode)) == mode


class TestLog:
    def test_it_writes_one_line_with_the_facts(self, caplog):
        caplog.set_level(logging.INFO, logger="honeydew_ray")
        Log().succeeded(done_job(None, waited_s=2.0, ran_s=0.5))
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("honeydew_ray", logging.INFO)
        assert record.getMessage() == "job job of queue test succeeded: work waited 2.000 s and ran 0.500 s"
        facts = {name: value for name, value in vars(record).items() if name.startswith("honeydew_")}
        assert facts == {
            "honeydew_job_id": "job", "honeydew_method": "work", "honeydew_queue": "test", "honeydew_attempts": 1,
            "honeydew_waited_s": 2.0, "honeydew_ran_s": 0.5,
        }

    def test_it_writes_at_the_level_it_was_given(self, caplog):
        caplog.set_level(logging.DEBUG, logger="honeydew_ray")
        Log(logging.DEBUG).succeeded(done_job(None))
        assert [record.levelno for record in caplog.records] == [logging.DEBUG]

    def test_it_does_not_read_the_arguments_or_the_result(self, caplog):
        caplog.set_level(logging.INFO, logger="honeydew_ray")
        Log().succeeded(done_job(make_job(args=["secret"]).payload))
        assert len(caplog.records) == 1
        assert "secret" not in caplog.text

    def test_no_time_is_negative_under_a_clock_that_was_set_back(self, caplog):
        caplog.set_level(logging.INFO, logger="honeydew_ray")
        Log().succeeded(done_job(None, waited_s=-60, ran_s=-1))
        (record,) = caplog.records
        assert (record.honeydew_waited_s, record.honeydew_ran_s) == (0.0, 0.0)

    def test_a_job_that_has_not_run_is_refused(self):
        with pytest.raises(ValueError, match="has not been run to its end"):
            Log().succeeded(make_job())

    @pytest.mark.parametrize("level", ["INFO", -1, None, 1.5])
    def test_a_bad_level_is_refused(self, level):
        with pytest.raises((TypeError, ValueError), match="Log: level was"):
            Log(level)


@pytest.mark.parametrize("mode", [Retry, ExponentialRetry])
def test_only_the_number_of_retries_may_go_unnamed(mode: type) -> None:
    kinds = {name: parameter.kind for name, parameter in inspect.signature(mode).parameters.items()}
    assert kinds.pop("times") is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}
