"""Workers that run the user's code in the caller's thread."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from honeydew_ray import craft, payload
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.errors import QueueNotFound
from honeydew_ray.failure import exception_text, exception_traceback
from honeydew_ray.job import JobRecord, Token
from honeydew_ray.payload import HeldBuffer, Payload
from honeydew_ray.placement import Plan
from honeydew_ray.queue_core import QueueCore
from honeydew_ray.running_job import ProgressSender, RunningJob, set_running
from honeydew_ray.testing.deaths import ProcessEnded, acted_out, killed
from honeydew_ray.testing.stage import Stage
from honeydew_ray.transport import Attempt, Died, Holding, NotStarted, Raised, Report, Returned

NODE = "inline"


@dataclass(frozen=True, slots=True)
class InlineSpec:
    """What a group of inline workers is made from."""

    queue: str
    group: str
    plan: Plan
    state: bytes | None
    class_name: str | None
    methods: frozenset[str] | None
    rebuild: bool
    on_loop: bool
    prefetch: bool
    concurrency: int
    init_retry_s: float
    shutdown_s: float


class InlineWorker:
    """One worker: its state, and whether it lives."""

    def __init__(self, worker_id: str, spec: InlineSpec) -> None:
        self.id = worker_id
        self.spec = spec
        self.state: Any = None
        self.dead = asyncio.Event()
        self._loop = asyncio.new_event_loop() if spec.on_loop else None

    def make(self) -> tuple[str, float | None] | None:
        """Make the state anew: None if it worked, else the error's text and when the class wants to try again."""
        self.state = None
        try:
            with acted_out():
                self.state = self._call(lambda: craft.make_state(self.spec.state))
        except BaseException as error:
            return f"{exception_text(error)}\n{exception_traceback(error)}", craft.retry_after(self.spec.state, error)
        return None

    def run(self, attempt: Attempt, publish: Callable[[Any], None]) -> tuple[Report, float]:
        """Run a job: the report on it, and how long it took, in seconds. Raises nothing but ``KeyboardInterrupt``'s news by its report."""
        job = RunningJob(self.state, publish)
        job.progress = _AtOnce(publish)
        outer = _now_running.replace(job)
        began = time.perf_counter()
        try:
            with acted_out():
                function, args, kwargs = attempt.payload.load()
                if not attempt.is_function:
                    function = craft.method_of(self.state, self.spec.state is not None, attempt.method)
                value = self._call(lambda: function(*args, **kwargs))
            data, large = payload.dumps(value, "the job's result")
            report: Report = Returned(Payload(data, tuple(HeldBuffer(buffer.raw().tobytes()) for buffer in large)), 0.0)
        except ProcessEnded as end:
            report = Died(end.failure)
        except BaseException as error:  # whatever a job raises is the job's failure
            report = Raised(craft.failure_of(error), self.spec.state is not None and self.spec.rebuild)
        finally:
            _now_running.replace(outer)
        return report, time.perf_counter() - began

    def close(self) -> None:
        """End its event loop."""
        if self._loop is not None:
            self._loop.close()

    def _call(self, function: Callable[[], Any]) -> Any:
        """The value of a call, awaited on the worker's own loop if it lives on one."""
        loop = self._loop
        if loop is None:
            return function()

        async def call() -> Any:
            value = function()
            return await value if inspect.isawaitable(value) else value

        return _in_a_thread_that_runs_no_loop(lambda: loop.run_until_complete(call()))


class InlineWorkers:
    """All inline workers of a stage; implements `Transport`. Jobs run one at a time, each when its turn comes."""

    def __init__(self, stage: Stage, cores: dict[str, QueueCore]) -> None:
        self._stage = stage
        self._cores = cores
        self.living: dict[str, InlineWorker] = {}
        self._begun: dict[Token, bool] = {}  # of attempts under way; False: it waits for its turn
        self._taken_back: set[Token] = set()

    async def run(self, worker: WorkerRef, attempts: Sequence[Attempt]) -> list[Report]:
        self._begun.update((attempt.token, False) for attempt in attempts)
        reports: list[Report] = []
        spoilt = False
        try:
            for attempt in attempts:
                report: Report = NotStarted(worker_alive=True) if spoilt else await self._attempt(worker, attempt)
                spoilt = spoilt or (isinstance(report, Raised) and report.spoilt)
                reports.append(report)
            return reports
        finally:
            for attempt in attempts:
                self._begun.pop(attempt.token, None)
                self._taken_back.discard(attempt.token)

    async def survivors(self, queue: str) -> list[Holding]:
        return []

    async def resume(self, worker: WorkerRef, token: Token) -> Report:
        return NotStarted(worker_alive=worker.id in self.living)

    def settled(self, worker: WorkerRef, token: Token) -> None:
        """Nothing is kept."""

    async def take_back(self, worker: WorkerRef, tokens: Sequence[Token]) -> list[Report | None]:
        waiting = [token for token in tokens if self._begun.get(token) is False]
        self._taken_back.update(waiting)
        return [NotStarted(worker_alive=True) if token in waiting else None for token in tokens]

    async def stop(self, worker: WorkerRef, token: Token) -> bool:
        return False

    async def wait_idle(self, worker: WorkerRef) -> bool:
        return worker.id in self.living

    def close(self) -> None:
        """Every worker is forgotten."""
        for worker in self.living.values():
            worker.close()
        self.living.clear()

    def kill(self, worker: WorkerRef) -> None:
        living = self.living.pop(worker.id, None)
        if living is not None:
            living.dead.set()

    async def end(self, worker: WorkerRef) -> None:
        self.kill(worker)

    async def enqueue(self, queue: str, jobs: Sequence[JobRecord]) -> None:
        core = self._cores.get(queue)
        if core is None:
            raise QueueNotFound(f"no queue {queue!r} runs here; start it with start_queue({queue!r})")
        bare = [job._replace(last_error=None if job.last_error is None else replace(job.last_error, exception=None)) for job in jobs]
        await core.enqueue(bare, moved=True)

    async def _attempt(self, ref: WorkerRef, attempt: Attempt) -> Report:
        worker = self.living.get(ref.id)
        if worker is None:
            return NotStarted(worker_alive=False)

        def begin() -> tuple[Report, float] | None:
            if attempt.token in self._taken_back or worker.dead.is_set():
                return None
            self._begun[attempt.token] = True
            return worker.run(attempt, lambda value: self._publish(worker.spec.queue, attempt.token, value))

        turn, death = asyncio.ensure_future(self._stage.turn(begin, is_job=True)), asyncio.ensure_future(worker.dead.wait())
        try:
            await asyncio.wait([turn, death], return_when=asyncio.FIRST_COMPLETED)
            outcome = turn.result() if turn.done() else None
        finally:
            turn.cancel()
            death.cancel()
        if outcome is None:
            return NotStarted(worker_alive=not worker.dead.is_set())
        return await self._ended(ref, worker, attempt.timeout_s, *outcome)

    async def _ended(self, ref: WorkerRef, worker: InlineWorker, timeout_s: float | None, report: Report, took_s: float) -> Report:
        if timeout_s is not None and took_s > timeout_s:  # it took too long in earnest: let as much virtual time pass, and its end with it
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(worker.dead.wait(), took_s)
        if isinstance(report, Died):
            self.kill(ref)
        elif worker.dead.is_set():
            report = Died(killed(signal.SIGKILL))
        return report

    def _publish(self, queue: str, token: Token, value: Any) -> None:
        core = self._cores.get(queue)
        if core is not None:
            core.progressed(*token, value)


class _AtOnce(ProgressSender):
    """Publishes each value at once: a test shall see them all."""

    def publish(self, value: Any) -> None:
        self._send(value)


@dataclass
class _NowRunning:
    """The innermost job that runs: a job may wait for another, which then runs inside it."""

    job: RunningJob | None = field(default=None)

    def replace(self, job: RunningJob | None) -> RunningJob | None:
        before, self.job = self.job, job
        set_running(job)
        return before


_now_running = _NowRunning()


def _in_a_thread_that_runs_no_loop(function: Callable[[], Any]) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function()
    outcome: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, name="honeydew-inline-job")
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value
