"""The contract of a success mode, as tests."""

from __future__ import annotations

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord
from honeydew_ray.payload import Payload, dumps
from honeydew_ray.success_modes.base import SuccessMode
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.testing.sent import sent

NOW = 1_700_000_000.0


class SuccessModeContract:
    """Subclass it in a test module, say how to make your success mode, and run pytest::

        class TestMyMode(SuccessModeContract):
            def make_mode(self):
                return MyMode()
    """

    def make_mode(self) -> SuccessMode:
        """A new success mode."""
        raise NotImplementedError(f"{type(self).__name__}.make_mode(self) must return a new success mode")

    @pytest.fixture
    def mode(self) -> SuccessMode:
        return self.make_mode()

    @pytest.mark.parametrize("value", [None, 0, "text", [1, 2], {"label": "cat"}])
    def test_it_takes_any_result(self, mode: SuccessMode, value: object) -> None:
        mode.succeeded(done_job(Payload(dumps(value, "the value")[0])))

    def test_it_takes_a_job_whose_result_nobody_asked_for(self, mode: SuccessMode) -> None:
        mode.succeeded(done_job(None))

    def test_it_takes_a_job_that_failed_before(self, mode: SuccessMode) -> None:
        first = lifecycle.claimed(_job(), "incarnation", NOW + 1)
        retried = lifecycle.retried(first, Failure("exception", "ValueError", "bad photo"), NOW + 2, 5.0, ["note"])
        second = lifecycle.claimed(retried, "incarnation", NOW + 7)
        mode.succeeded(lifecycle.succeeded(second, NOW + 8, None))

    def test_it_takes_a_job_under_a_clock_that_was_set_back(self, mode: SuccessMode) -> None:
        mode.succeeded(lifecycle.succeeded(lifecycle.claimed(_job(), "incarnation", NOW - 60), NOW - 120, None))

    def test_it_takes_many_jobs(self, mode: SuccessMode) -> None:
        for _ in range(100):
            mode.succeeded(done_job(None))

    def test_it_can_be_sent_to_the_process_of_its_queue(self, mode: SuccessMode) -> None:
        sent(mode).succeeded(done_job(None))

    def test_it_can_be_shown(self, mode: SuccessMode) -> None:
        assert type(mode).__name__ in repr(mode), "repr() is what status and logs show of a mode"


def done_job(result: Payload | None, waited_s: float = 2.0, ran_s: float = 0.5) -> JobRecord:
    """A job that waited and ran for so long and succeeded at its first attempt."""
    started = NOW + waited_s
    return lifecycle.succeeded(lifecycle.claimed(_job(), "incarnation", started), started + ran_s, result)


def _job() -> JobRecord:
    return lifecycle.enqueued(make_job("job"), "test", NOW)
