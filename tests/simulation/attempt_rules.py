"""Rules about how attempts end: not before their time, for the reason that counts, and with what they said themselves."""

from __future__ import annotations

import asyncio

from honeydew_ray.failure import Failure
from honeydew_ray.job import JobId, JobRecord, Token
from tests.simulation.rules import Known, Rules
from tests.simulation.scenario import Scenario

_LATE_S = 1.5
"""How late a job may be ended that is out of time, where nothing goes wrong."""

Attempt = tuple[str, JobId, int]
"""A queue, a job, and the number of the attempt."""


class AttemptRules(Rules):
    """Timeouts, ``shutdown_s``, ``node_loss``, progress."""

    def __init__(self, known: Known, scenario: Scenario) -> None:
        super().__init__(known)
        self._node_loss = scenario.node_loss
        self._clock_is_set = "clock jumps" in scenario.faults
        self._calm = not (scenario.faults or scenario.further_faults or scenario.stops)
        self._issued_at: dict[Attempt, tuple[float, str]] = {}  # when first, and the worker
        self._timeouts: dict[Token, float] = {}
        self._began: dict[Token, float] = {}
        self._stops_at: dict[str, float] = {}  # by worker: until when its job in hand may run
        self._as_claimed: dict[Attempt, JobRecord] = {}
        self.hearers = {"issued": self._issued, "start": self._started, "end": self._ended, "retiring": self._retiring,
                        "progress": self._progress}

    def kept(self, queue: str, step: str, job: JobRecord) -> None:
        """A store has confirmed that a job entered, left, or stands as it is, or says that it is claimed."""
        attempt = queue, job.id, job.attempt
        if step == "claimed":
            self._as_claimed[attempt] = job
        claimed, error = self._as_claimed.get(attempt, job), job.last_error
        if step != "stands" or error is None or error.attempt != job.attempt or (job.started_at is not None and not job.completed_at):
            return
        if error == claimed.last_error:
            return  # it came with the job from another queue, where an attempt had the same number
        since = self._issued_at.get(attempt)
        if error.kind == "node_lost":
            self._check_node_lost(job, claimed)
        elif error.kind == "timeout" and since is not None:
            self._check_timeout(job, since[0])
        elif error.class_name == "WorkerStopped" and since is not None:
            self._check_stopped(job, since[1], error)

    def _check_node_lost(self, job: JobRecord, claimed: JobRecord) -> None:
        if (job.failures, job.redeliveries) == (0, 0):
            return  # revived since
        failed = self._node_loss == "fail"
        due = claimed.failures + failed, claimed.redeliveries + (not failed)
        if failed:
            self.known.cases["a job failed with its node"] += 1
        if (job.failures, job.redeliveries) != due:
            self.known.complain(f"node_loss={self._node_loss}: job {job.id} lost its node, and counts {job.failures} failures and "
                                f"{job.redeliveries} redeliveries; due are {due}")

    def _check_timeout(self, job: JobRecord, issued_at: float) -> None:
        self.known.cases["a job ran out of time"] += 1
        ran_s = asyncio.get_running_loop().time() - issued_at
        if job.timeout_s is not None and ran_s < job.timeout_s - 0.001 and not self._clock_is_set:
            self.known.complain(f"promise 7: job {job.id} is said to have run out of time {ran_s:g} s after it was issued; "
                                f"its time is {job.timeout_s:g} s")

    def _check_stopped(self, job: JobRecord, worker: str, error: Failure) -> None:
        now, until = asyncio.get_running_loop().time(), self._stops_at.get(worker)
        if until is None or now < until - 0.001:
            self.known.complain(f"shutdown_s: job {job.id} was ended with worker {worker} ({error}), which had until {until} to finish")

    def _issued(self, worker: str, tokens: list[Token], timeouts_s: list[float | None]) -> None:
        now = asyncio.get_running_loop().time()
        for token, timeout_s in zip(tokens, timeouts_s, strict=True):
            self._issued_at[worker.partition("/")[0], token.job_id, token.attempt] = now, worker  # a memory queue may begin a job anew
            if timeout_s is not None:
                self._timeouts[token] = timeout_s

    def _started(self, token: Token, **facts: object) -> None:
        self._began[token] = asyncio.get_running_loop().time()

    def _ended(self, token: Token, worker: str, **facts: object) -> None:
        now = asyncio.get_running_loop().time()
        ran_s = now - self._began.get(token, now)  # one that is stopped at once ends before it has begun
        if self._calm and ran_s > self._timeouts.get(token, ran_s) + _LATE_S:
            self.known.complain(f"timeout_s: {token} ran for {ran_s:g} s on worker {worker}, and had {self._timeouts[token]:g} s")

    def _retiring(self, workers: list[str], shutdown_s: float | None, **facts: object) -> None:
        until = float("inf") if shutdown_s is None else asyncio.get_running_loop().time() + shutdown_s
        for worker in workers:  # of several who ask for it the hastiest one counts
            self._stops_at[worker] = min(until, self._stops_at.get(worker, until))

    def _progress(self, job: JobId, attempt: int, progress: int) -> None:
        self.known.cases["progress was seen"] += 1
        if progress != attempt:
            self.known.complain(f"progress: job {job} is at attempt {attempt}, and shows the progress of attempt {progress}")
