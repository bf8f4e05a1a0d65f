"""Rules about the door of a queue: who may enter, who is turned away, and that a refusal is one."""

from __future__ import annotations

from collections.abc import Sequence

from honeydew_ray.job import JobId, JobRecord
from tests.simulation.rules import Known, Rules
from tests.simulation.scenario import Scenario

_MOST_AT_ONCE = 5
"""Jobs of one submit, which may enter an empty queue though they are more than it shall hold."""


class DoorRules(Rules):
    """``max_pending`` and promise 1."""

    def __init__(self, known: Known, scenario: Scenario) -> None:
        super().__init__(known)
        self._most = scenario.max_pending
        self._refused: set[JobId] = set()  # surely, and not submitted again since
        self._accepted: set[JobId] = set()
        self.hearers = {"submit": self._submitted, "accepted": self._taken, "refused": self._turned_down, "turned_away": self._turned_away,
                        "start": self._started}

    def check_room(self, queue: str, waiting: int, jobs: Sequence[JobRecord]) -> None:
        """Jobs enter a store in which others wait; those from other queues may always."""
        new = [job.id for job in jobs if job.client is not None]
        if queue != "main" or self._most is None or not new:
            return
        most = max(self._most, _MOST_AT_ONCE) if waiting == 0 else self._most
        if waiting + len(new) > most:
            self.known.complain(f"max_pending: {new} enter queue {queue}, where {waiting} wait and {self._most} may")

    def _submitted(self, client: str, jobs: list[JobId], scripts: list[str]) -> None:
        self._refused.difference_update(jobs)

    def _taken(self, client: str, jobs: list[JobId]) -> None:
        self._accepted.update(jobs)

    def _turned_down(self, client: str, jobs: list[JobId], surely: bool) -> None:
        fresh = [job for job in jobs if surely and job not in self._accepted]
        self._refused.update(fresh)
        held = [job for job in fresh if self.known.entered("main", job)]
        if held:
            self.known.complain(f"promise 1: {client} was told that {held} were surely not enqueued, and the store of queue main took them")

    def _turned_away(self, queue: str, jobs: list[JobId], patience_s: float, waited_s: float, waiting: int) -> None:
        self.known.cases["a submit was turned away"] += 1
        if waited_s < patience_s - 0.001:
            self.known.complain(f"max_pending: {jobs} were turned away from queue {queue} after {waited_s:g} s of {patience_s:g} s")
        if waiting == 0 and patience_s > 0:
            self.known.complain(f"max_pending: {jobs} were turned away from queue {queue}, in which nobody waits")

    def _started(self, job: JobId, **facts: object) -> None:
        if job in self._refused:
            self.known.complain(f"promise 1: job {job} was refused, and starts")
