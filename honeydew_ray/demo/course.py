"""The course of the demo's jobs, from the first submit to an empty queue."""

from __future__ import annotations

import time
from collections.abc import Sequence

import honeydew_ray as honeydew
from honeydew_ray.demo.accidents import Accidents
from honeydew_ray.demo.measures import Measures
from honeydew_ray.demo.screen import Screen

_POLL_S = 0.1
_LIMIT_S = 300.0


class Course:
    """Submits a job for each file, the two with accidents in the midst of it, and watches until all are done."""

    def __init__(self, queue: honeydew.Queue, second: honeydew.Queue, accidents: Accidents, screen: Screen) -> None:
        self._queue = queue
        self._second = second
        self._accidents = accidents
        self._screen = screen
        self._jobs: dict[str, honeydew.Job[Measures]] = {}
        self._staged: list[tuple[int, str]] = []  # after how many files, which file
        self._watched: list[str] = []  # staged, and not told of yet

    def run(self, files: Sequence[str]) -> dict[str, honeydew.Job[Measures]]:
        """The job of each file; each has left its queue. Raises ``TimeoutError`` after five minutes."""
        self._staged = [(len(files) // 3, self._accidents.kills), (2 * len(files) // 3, self._accidents.raises)]
        ordinary = [file for file in files if file not in (self._accidents.kills, self._accidents.raises)]
        self._jobs = dict(zip(ordinary, self._queue.submit_many("analyse", ordinary), strict=True))
        deadline = time.monotonic() + _LIMIT_S
        while self._look():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the jobs were not done after {_LIMIT_S:g} s: {self._queue.status()}")
            time.sleep(_POLL_S)
        return self._jobs

    def _look(self) -> bool:
        """Show how far it is, stage what is due, tell what happened. Whether there is more to come."""
        status = self._queue.status()
        waiting = _unfinished(status) + _unfinished(self._second.status())
        done = max(len(self._jobs) - waiting, 0)
        self._screen.advanced(done, [worker.progress for worker in status.workers if worker.progress])
        for file in [file for file in self._watched if self._jobs[file].done()]:
            self._watched.remove(file)
            self._screen.say(self._story(file))
        while self._staged and done >= self._staged[0][0]:
            _, file = self._staged.pop(0)
            self._jobs[file] = self._queue.options(priority=1).submit("analyse", file)
            self._watched.append(file)
        return bool(waiting or self._staged or self._watched)

    def _story(self, file: str) -> str:
        job = self._jobs[file]
        failure, started_at = job.last_error, job.started_at
        happened_at = self._accidents.killed_at() if file == self._accidents.kills else self._accidents.raised_at()
        if failure is None or started_at is None or happened_at is None:
            return f"! {file}: the accident staged for it did not happen"
        what = f"signal {failure.signal} killed its worker" if failure.signal else f"its job raised {failure.class_name}"
        later_ms = 1000 * (started_at - happened_at)
        return f"! {file}: {what}; Retry had it running again {later_ms:.0f} ms later; {job.state} at attempt {job.attempts}"


def _unfinished(status: honeydew.QueueStatus) -> int:
    return status.pending + status.delayed + status.in_progress
