"""The schedule of faults: the same for the same seed, each kind in it, within its time."""

from __future__ import annotations

from tests.hammer.schedule import KINDS, counted, make_schedule
from tests.hammer.test_hammer import SEED, SHORT_S


def test_a_seed_gives_the_same_schedule_each_time() -> None:
    assert make_schedule(7, 60) == make_schedule(7, 60)
    assert make_schedule(7, 60) != make_schedule(8, 60)


def test_every_kind_comes_before_any_comes_again_and_all_fit_into_the_short_run() -> None:
    for seed in range(200):
        kinds = [planned.kind for planned in make_schedule(seed, 60)]
        assert set(kinds[: len(KINDS)]) == set(KINDS)
    assert {planned.kind for planned in make_schedule(SEED, SHORT_S)} == set(KINDS)  # the one that the tests run


def test_faults_are_within_the_time_and_in_order() -> None:
    schedule = make_schedule(3, 45)
    times = [planned.at_s for planned in schedule]
    assert times == sorted(times)
    assert times[0] > 0 and times[-1] < 45
    assert sum(counted(schedule).values()) == sum(planned.kind != "suspend" for planned in schedule)
