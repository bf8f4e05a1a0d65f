"""The jobs of a memory store that wait: a line for each priority, and a heap by due time.

Both keep entries of jobs that have left in another way, by cancel or by a claim out of turn, and
know them by this: an entry waits only while the store's table holds that very record. Such dead
entries are swept out when they outnumber the rest, so leaving costs O(1) and memory stays bounded.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from honeydew_ray.job import JobId, JobRecord
from honeydew_ray.payload import Payload

Table = Mapping[JobId, JobRecord]
"""The store's own table of jobs; a record in it is current."""

Walk = Iterator[tuple[Any, JobRecord]]
"""Jobs in line order, each with its place, which stays the same while the job stays put."""

_TAKEN = JobRecord(None, "", "", Payload(b""))  # stands where a job was taken from the front of a line
_TRIM_FROM = 64  # shorter fronts are not worth cutting off


def _seq(job: JobRecord) -> int:
    return job.seq


class Line:
    """The jobs of one priority, in order of ``seq``."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._jobs: list[JobRecord] = []  # from _front on: ascending in seq
        self._front = 0
        self._returned: list[tuple[int, int, JobRecord]] = []  # heap of (seq, attempt, job): those given back
        self._dead = 0  # entries of jobs that left out of turn

    def __len__(self) -> int:
        return len(self._jobs) - self._front + len(self._returned) - self._dead

    def append(self, job: JobRecord) -> None:
        """A job joins the end: its ``seq`` is the greatest so far."""
        self._jobs.append(job)

    def put_back(self, job: JobRecord) -> None:
        """A job takes the place it had. No two entries of one ``seq`` are of the same attempt."""
        heapq.heappush(self._returned, (job.seq, job.attempt, job))

    def pop(self) -> JobRecord | None:
        """Take the first job; None if there is none."""
        while (job := self._pop_entry()) is not None:
            if self._table.get(job.id) is job:
                return job
            self._dead -= 1
        return None

    def left(self) -> None:
        """One job of this line is no longer in the table as it was."""
        self._dead += 1
        if self._dead > len(self):
            self._sweep()

    def walk(self, after: int | None) -> Iterator[JobRecord]:
        """The jobs beyond this ``seq``, in order."""
        start = self._front if after is None else bisect_right(self._jobs, after, lo=self._front, key=_seq)
        in_line = (self._jobs[index] for index in range(start, len(self._jobs)))
        back = sorted(entry for entry in self._returned if after is None or entry[0] > after)
        merged = heapq.merge(in_line, (job for _, _, job in back), key=_seq) if back else in_line
        return (job for job in merged if self._table.get(job.id) is job)

    def _pop_entry(self) -> JobRecord | None:
        in_line = self._front < len(self._jobs)
        if self._returned and not (in_line and self._jobs[self._front].seq < self._returned[0][0]):
            return heapq.heappop(self._returned)[2]
        if not in_line:
            return None
        job = self._jobs[self._front]
        self._jobs[self._front] = _TAKEN  # so that a finished job is not kept alive here
        self._front += 1
        if self._front >= _TRIM_FROM and self._front * 2 > len(self._jobs):
            del self._jobs[: self._front]
            self._front = 0
        return job

    def _sweep(self) -> None:
        self._jobs = [job for job in self._jobs[self._front :] if self._table.get(job.id) is job]
        self._returned = [entry for entry in self._returned if self._table.get(entry[2].id) is entry[2]]
        heapq.heapify(self._returned)
        self._front = self._dead = 0


class Lines:
    """The lines of all priorities, highest first."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lines: dict[int, Line] = {}  # none is empty between two calls
        self._order: list[int] = []  # heap of negated priorities; may name lines that are gone, and one twice

    def append(self, job: JobRecord) -> None:
        """A job joins the end of the line of its priority."""
        self._line(job.priority).append(job)

    def put_back(self, job: JobRecord) -> None:
        """A job takes the place it had in the line of its priority."""
        self._line(job.priority).put_back(job)

    def pop(self) -> JobRecord | None:
        """Take the first job of the highest priority; None if none waits."""
        while self._order:
            priority = -self._order[0]
            line = self._lines.get(priority)
            if line is None:
                heapq.heappop(self._order)
                continue
            job = line.pop()
            self._drop_if_empty(priority, line)
            return job
        return None

    def left(self, job: JobRecord) -> None:
        """This job was taken off the table, or changed there, while it stood in line."""
        line = self._lines[job.priority]
        line.left()
        self._drop_if_empty(job.priority, line)

    def walk(self, after: tuple[int, int] | None) -> Walk:
        """Jobs in line, each with its place: (negated priority, seq)."""
        for lowered in sorted(-priority for priority in self._lines):
            if after is not None and lowered < after[0]:
                continue
            seq = after[1] if after is not None and lowered == after[0] else None
            for job in self._lines[-lowered].walk(seq):
                yield (lowered, job.seq), job

    def _line(self, priority: int) -> Line:
        line = self._lines.get(priority)
        if line is None:
            line = self._lines[priority] = Line(self._table)
            heapq.heappush(self._order, -priority)
            if len(self._order) > 2 * len(self._lines) + 8:
                self._order = sorted(-known for known in self._lines)  # a sorted list is a heap
        return line

    def _drop_if_empty(self, priority: int, line: Line) -> None:
        if not line:
            del self._lines[priority]


class DelayedJobs:
    """The jobs that are not due yet, earliest first; equal due times in order of arrival."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._heap: list[tuple[float, int, JobRecord]] = []  # (due_at, arrival, job)
        self._arrivals = 0
        self._dead = 0  # entries of jobs that left before they were due
        self._sorted = True  # a walk sorts the heap, which stays a heap

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def add(self, job: JobRecord) -> None:
        """A job waits for its time."""
        self._arrivals += 1
        heapq.heappush(self._heap, (job.due_at, self._arrivals, job))
        self._sorted = False

    def pop_due(self, now: float) -> JobRecord | None:
        """Take the earliest job if its time has come."""
        due = self.next_due()
        if due is None or due > now:
            return None
        return self._pop()

    def next_due(self) -> float | None:
        """When the earliest job falls due; None if there is none."""
        while self._heap:
            job = self._heap[0][2]
            if self._table.get(job.id) is job:
                return job.due_at
            self._pop()
            self._dead -= 1
        return None

    def left(self) -> None:
        """One job was taken off the table, or changed there, while it waited here."""
        self._dead += 1
        if self._dead > len(self):
            self._heap = [entry for entry in self._heap if self._table.get(entry[2].id) is entry[2]]
            heapq.heapify(self._heap)
            self._dead, self._sorted = 0, False

    def walk(self, after: tuple[float, int] | None) -> Walk:
        """Jobs by due time, each with its place: (due_at, arrival)."""
        if not self._sorted:
            self._heap.sort()
            self._sorted = True
        start = 0 if after is None else bisect_right(self._heap, after, key=lambda entry: entry[:2])
        for index in range(start, len(self._heap)):
            due_at, arrival, job = self._heap[index]
            if self._table.get(job.id) is job:
                yield (due_at, arrival), job

    def _pop(self) -> JobRecord:
        self._sorted = False
        return heapq.heappop(self._heap)[2]
