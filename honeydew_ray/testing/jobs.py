"""Records of jobs for tests."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from honeydew_ray.job import JobId, JobRecord
from honeydew_ray.payload import Payload, dumps


def make_job(
    job_id: JobId = None,
    *,
    queue: str = "test",
    method: str = "work",
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    **facts: Any,
) -> JobRecord:
    """A job with these arguments, and a fresh id if none is given.

    ``facts`` are any other fields of `JobRecord`: ``make_job("a", priority=5, failures=2)``.
    """
    data, _ = dumps((None, tuple(args), dict(kwargs or {})), "the arguments")
    return JobRecord(uuid.uuid4().hex if job_id is None else job_id, queue, method, Payload(data), **facts)
