"""A job for those who only look at it: nothing in it needs a class of the user's to be read, nor the bytes that it carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from honeydew_ray import plain
from honeydew_ray.job import JobRecord
from honeydew_ray.payload import Payload


@dataclass(frozen=True, slots=True)
class Size:
    """Stands for bytes that were left out."""

    nbytes: int

    def fetch(self) -> bytes:
        """There is nothing to fetch."""
        raise LookupError(f"{self.nbytes} bytes were left out")

    def nodes(self) -> Sequence[str]:
        """Nowhere."""
        return ()


def outward(job: JobRecord) -> JobRecord:
    """The record with its arguments' pickle if that is small, the failure mode's note as text, and no exception or result."""
    data = job.payload.data if len(job.payload.data) <= plain.MAX_PICKLE_BYTES else b""
    error = None if job.last_error is None else replace(job.last_error, exception=None)
    note = None if job.private is None else plain.describe(job.private)
    return job._replace(payload=Payload(data, (Size(job.payload.nbytes - len(data)),)), private=note, last_error=error, result=None)
