"""Write a line in the log for each job that succeeded."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from honeydew_ray.arguments import expect_count
from honeydew_ray.job import JobRecord
from honeydew_ray.success_modes.base import SuccessMode

_LOGGER = logging.getLogger("honeydew_ray")


@dataclass(frozen=True)
class Log(SuccessMode):
    """Logs each success under ``honeydew_ray``: which job, how long it waited and how long it ran.

    The wait is from the job's entry in the queue to the start of its last attempt. The facts are
    fields of the log record too, for log collectors: ``honeydew_job_id``, ``honeydew_method``,
    ``honeydew_queue``, ``honeydew_attempts``, ``honeydew_waited_s``, ``honeydew_ran_s``.
    """

    level: int = logging.INFO

    def __post_init__(self) -> None:
        expect_count("Log", "level", self.level)

    def succeeded(self, job: JobRecord) -> None:
        if job.enqueued_at is None or job.started_at is None or job.completed_at is None:
            raise ValueError(f"job {job.id} has not been run to its end: enqueued_at={job.enqueued_at}, started_at={job.started_at}, "
                             f"completed_at={job.completed_at}")
        waited_s = max(0.0, job.started_at - job.enqueued_at)  # the wall clock may be set back
        ran_s = max(0.0, job.completed_at - job.started_at)
        facts: dict[str, object] = {
            "honeydew_job_id": job.id,
            "honeydew_method": job.method,
            "honeydew_queue": job.queue,
            "honeydew_attempts": job.attempts,
            "honeydew_waited_s": waited_s,
            "honeydew_ran_s": ran_s,
        }
        text = "job %s of queue %s succeeded: %s waited %.3f s and ran %.3f s"
        _LOGGER.log(self.level, text, job.id, job.queue, job.method, waited_s, ran_s, extra=facts)
