"""Waiting for many jobs, with a bar to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from honeydew_ray.errors import HoneydewError
from honeydew_ray.job import JobState
from honeydew_ray.job_handle import Job
from honeydew_ray.progress_bar import ProgressBar

_LOOK_S = 0.1


def wait_with_bar(label: str, jobs: Sequence[Job[Any]]) -> None:
    """Return when all have ended, well or not; an interrupt leaves them running."""
    Job.follow_all(jobs)
    waiting = list(jobs)
    with ProgressBar(label, len(jobs)) as bar:
        try:
            while waiting:
                waiting[0].wait(_LOOK_S)
                left: list[Job[Any]] = []
                for job in waiting:
                    if job.done():
                        bar.ended(ended_well(job))
                    else:
                        left.append(job)
                waiting = left
                bar.refresh()
        except KeyboardInterrupt:
            again = f'honeydew.get_queue("{label}").filter()'
            raise KeyboardInterrupt(f"{len(waiting):,} jobs go on; {again} lists those that wait or run") from None


def ended_well(job: Job[Any]) -> bool:
    """Whether a job that has ended is done; one that was lost is not."""
    try:
        return job.state is JobState.DONE
    except HoneydewError:
        return False
