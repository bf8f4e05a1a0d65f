"""How many jobs share a lease, by what was measured."""

from __future__ import annotations

import pytest

from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord
from honeydew_ray.pace import LEASE_S, MOST_JOBS, Pace, may_share
from honeydew_ray.payload import HeldBuffer, Payload
from honeydew_ray.testing.jobs import make_job


def jobs(number: int, method: str = "work") -> list[JobRecord]:
    return [make_job(method=method) for _ in range(number)]


def measured(runs: int, seconds: float, method: str = "work") -> Pace:
    pace = Pace()
    for _ in range(runs):
        pace.measured(method, seconds)
    return pace


def test_a_method_that_was_never_measured_runs_one_at_a_time() -> None:
    assert Pace().lease_size(jobs(50), MOST_JOBS) == 1


@pytest.mark.parametrize("runs", [1, 2, 7, 100])
def test_a_lease_holds_no_more_runs_than_have_been_measured(runs: int) -> None:
    assert measured(runs, 1e-6).lease_size(jobs(500), MOST_JOBS) == runs


def test_leases_of_a_short_method_double_up_to_the_most() -> None:
    pace, sizes = Pace(), list[int]()
    for _ in range(12):
        sizes.append(pace.lease_size(jobs(1000), MOST_JOBS))
        for _ in range(sizes[-1]):
            pace.measured("work", 1e-6)
    assert sizes == [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256]


@pytest.mark.parametrize(("seconds", "size"), [(LEASE_S / 10, 10), (LEASE_S / 2, 2), (LEASE_S, 1), (LEASE_S * 50, 1)])
def test_a_lease_holds_no_more_work_than_is_allowed(seconds: float, size: int) -> None:
    assert abs(measured(100, seconds).lease_size(jobs(100), MOST_JOBS) - size) <= (size > 2)  # sums of floats


def test_one_slow_run_is_believed_at_once_and_forgotten_slowly() -> None:
    pace = measured(100, 1e-5)
    pace.measured("work", 1.0)
    assert pace.lease_size(jobs(100), MOST_JOBS) == 1
    for _ in range(20):
        pace.measured("work", 1e-5)
    assert pace.lease_size(jobs(100), MOST_JOBS) == 1
    for _ in range(100):
        pace.measured("work", 1e-5)
    assert pace.lease_size(jobs(100), MOST_JOBS) > 50


def test_methods_are_measured_apart_and_share_the_time_of_a_lease() -> None:
    pace = measured(100, LEASE_S / 4)
    for _ in range(100):
        pace.measured("other", LEASE_S / 2 + 1e-4)
    assert pace.lease_size([*jobs(1), *jobs(1, "other"), *jobs(5)], MOST_JOBS) == 2
    assert pace.lease_size([*jobs(1), *jobs(1, "unknown"), *jobs(5)], MOST_JOBS) == 1
    assert pace.lease_size([*jobs(1, "unknown"), *jobs(5)], MOST_JOBS) == 1


@pytest.mark.parametrize("facts", [
    {"failures": 1}, {"redeliveries": 1}, {"timeout_s": 0.5}, {"payload": Payload(b"", (HeldBuffer(b"large"),))},
])
def test_jobs_that_need_a_lease_of_their_own(facts: dict[str, object]) -> None:
    alone = make_job(**{"last_error": Failure("exception", "E", "e"), **facts}) if "payload" not in facts else make_job()._replace(**facts)
    assert not may_share(alone)
    pace = measured(100, 1e-6)
    assert pace.lease_size([*jobs(3), alone, *jobs(3)], MOST_JOBS) == 3
    assert pace.lease_size([alone, *jobs(3)], MOST_JOBS) == 1


def test_a_job_with_a_long_timeout_may_share() -> None:
    assert may_share(make_job(timeout_s=1.0))


def test_the_appetite_follows_the_leases() -> None:
    pace = measured(256, 1e-6)
    hungry = [pace.appetite() for _ in range(20) if pace.lease_size(jobs(256), MOST_JOBS)]
    assert hungry == sorted(hungry)
    assert hungry[-1] == MOST_JOBS
    pace.lease_size(jobs(256, "unknown"), MOST_JOBS)
    assert pace.appetite() == 2


def test_no_more_methods_are_remembered_than_allowed() -> None:
    pace = Pace()
    for number in range(3000):
        pace.measured(f"made up {number}", 1e-6)
    assert len(pace._expected) == 1000
    assert pace.lease_size(jobs(2, "made up 2999"), 2) == 1
