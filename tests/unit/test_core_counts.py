"""What a queue's status counts: attempts that succeeded, and attempts that failed."""

from __future__ import annotations

from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import CancelOutcome
from tests.unit.harness import Bench, Rig, virtual


@virtual
async def test_attempts_are_counted_by_how_they_ended() -> None:
    bench = await Bench(Retry(2), rig=Rig(spoils=False)).open(workers=2)
    jobs = await bench.submit_all("ok", "ok", "raise", ["raise", "ok"])
    await bench.ends(jobs)
    status = await bench.core.status()
    assert (status.succeeded, status.failed) == (3, 3 + 1)


@virtual
async def test_what_never_ran_or_was_called_off_is_neither() -> None:
    bench = await Bench().open()
    job = await bench.submit("ok")
    assert await bench.core.cancel(job) is CancelOutcome.CANCELLED
    status = await bench.core.status()
    assert (status.succeeded, status.failed) == (0, 0)
