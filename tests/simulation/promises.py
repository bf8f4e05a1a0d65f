"""The design's promises, watched as things happen: each breach is a complaint that names the promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from honeydew_ray.job import JobId, JobRecord, JobState, Token
from tests.simulation.attempt_rules import AttemptRules
from tests.simulation.cluster import Cluster
from tests.simulation.door_rules import DoorRules
from tests.simulation.ledger import Ledger
from tests.simulation.rules import Rules, process_of
from tests.simulation.scenario import Scenario
from tests.simulation.staff_rules import StaffRules
from tests.simulation.stop_rules import StopRules

_OF_THE_JOB = frozenset({"exception", "exit", "signal", "out_of_memory", "timeout", "poison"})
_OF_THE_CLUSTER = frozenset({"node_lost", "unresponsive"})
_OF_THE_HOUSE = frozenset({"QueueRestarted", "WorkerStopped", "AnswerLost", "WorkerDied"})

Attempt = tuple[str, JobId, int]
"""A queue, a job, and the number of the attempt."""


class Promises:
    """Hears of every event, and of all that stores keep.

    `complaints` stays empty as long as every promise is kept.
    """

    def __init__(self, cluster: Cluster, scenario: Scenario) -> None:
        self.complaints: list[str] = []
        self.cases: Counter[str] = Counter()  # what came about of what is to come about in many runs
        self.ledgers: dict[str, Ledger] = {}
        self.told: dict[tuple[str, JobId], JobState] = {}
        self.running: dict[Token, tuple[str, str]] = {}  # its worker and node
        self._held_at_a_crash: set[tuple[str, JobId]] = set()
        self._unheard: set[JobId] = set()  # enqueued, and whoever asked was told of an error
        self._taken_anew: set[JobId] = set()  # by a memory queue that had it before it lost its process
        self._cluster = cluster
        self._times = {"main": scenario.times, "other": 0}
        self._max_redeliveries = scenario.max_redeliveries
        self._places = {"main": scenario.concurrency, "other": 1}
        self._prefetch = scenario.prefetch
        self._in_hand: dict[str, dict[Token, None]] = defaultdict(dict)  # by worker
        self._spoilt: dict[str, int] = {}  # by worker: the epoch of a state that may not be used again
        self._ends: dict[Attempt, str] = {}  # how attempts ended, by their workers' own account
        self._starts: dict[tuple[str, JobId], int] = defaultdict(int)
        self._cancelled: set[tuple[str, JobId]] = set()
        self._asked: dict[str, set[tuple[str, JobId]]] = defaultdict(set)  # what clients asked for: cancel, move, retry
        self._suspended: set[str] = set()
        self._incarnations: dict[str, str] = {}
        self._losses: dict[str, int] = defaultdict(int)  # how often a queue lost its memory
        self._losses_when_asked: dict[tuple[str, str, JobId], int] = {}
        self._ever_entered: dict[tuple[str, JobId], int] = {}  # with how often the queue had lost its memory then
        self._ever_left: set[tuple[str, JobId, JobState]] = set()
        self._hearers: dict[str, Callable[..., None]] = {
            "received": self._received, "taken_back": self._taken_back, "start": self._start, "end": self._end, "down": self._down,
            "spoilt": self._state_spoilt, "custody": self._custody, "arrived": self._custody, "told": self._client_told,
            "told_otherwise": self._told_otherwise, "asked": self._client_asked, "answered": self._client_answered,
            "opened": self._opened,
        }
        self.door = DoorRules(self, scenario)
        self._ends_of_attempts = AttemptRules(self, scenario)
        self._rules: list[Rules] = [self.door, self._ends_of_attempts, StaffRules(self, cluster, scenario), StopRules(self, cluster)]

    def complain(self, text: str) -> None:
        self.complaints.append(text)

    def hear(self, kind: str, facts: dict[str, Any]) -> None:
        """An event of the history."""
        try:
            self._hear(kind, facts)
        except Exception as error:  # whoever noted it, inside of some process, would take it for something of its own
            self.complain(f"a rule of the simulation fails on {kind}: {error!r}")

    def _hear(self, kind: str, facts: dict[str, Any]) -> None:
        hearer = self._hearers.get(kind)
        if hearer is not None:
            hearer(**facts)
        for rules in self._rules:
            rules.hear(kind, facts)

    # -- in workers ----------------------------------------------------------------------------

    def _received(self, worker: str, tokens: list[Token]) -> None:
        queue, process = worker.partition("/")[0], process_of(tokens[0])
        held = [token for token in self._in_hand[worker] if process_of(token) == process]
        places = self._places[queue]
        if len(tokens) > 1 and not (self._prefetch and queue == "main"):
            self.complain(f"promise 6: worker {worker} was sent several jobs at once: {tokens}")
        if len(held) >= places:
            self.complain(f"promise 6: worker {worker} was sent {tokens} while it had {held} in hand")
        earlier = [token for token, (at, _) in self.running.items() if at == worker and process_of(token) != process]
        if earlier and places == 1:
            self.complain(f"promise 6: worker {worker} was sent {tokens} while it runs {earlier} for an earlier process of the queue")
        self._in_hand[worker].update(dict.fromkeys(tokens))

    def _taken_back(self, worker: str, token: Token) -> None:
        self._in_hand[worker].pop(token, None)

    def _start(self, job: JobId, token: Token, worker: str, epoch: int, node: str, script: str) -> None:
        queue = worker.partition("/")[0]
        self._starts[queue, job] += 1
        unheard = node in self._cluster.cut_off  # taken for lost: what runs there may run elsewhere too
        if epoch == 0 or self._spoilt.get(worker, 0) >= epoch:
            self.complain(f"promise 6: {token} runs on worker {worker} with a state that was spoilt, or none (epoch {epoch})")
        if sum(at == worker for at, _ in self.running.values()) >= self._places[queue]:
            self.complain(f"promise 6: {token} starts on worker {worker}, which runs as many jobs as it may")
        if not unheard:
            self._check_start(queue, job, token)
        self.running[token] = worker, node

    def _check_start(self, queue: str, job: JobId, token: Token) -> None:
        for other, (worker, node) in self.running.items():
            # a memory queue that lost its process, and is given the job anew, knows nothing of the attempt that an earlier one had issued
            unknown = not self.ledgers[queue].durable and process_of(other) != process_of(token)
            if other.job_id == job and worker.startswith(f"{queue}/") and node not in self._cluster.cut_off and not unknown:
                self.complain(f"promise 8: {token} starts while {other} runs on worker {worker}")
        if (queue, job) in self._cancelled:
            self.complain(f"promise 9: {token} starts although the job was cancelled")
        forgotten = not self.ledgers[queue].durable and process_of(token) != self._incarnations[queue]
        if queue in self._suspended and not forgotten:  # a memory queue that lost its process knows nothing of what it had issued
            self.complain(f"promise 9: {token} starts while queue {queue} is suspended")
        told = self.told.get((queue, job))
        if told is not None and (queue, job) not in self._asked["retry"] and not self._may_return(queue, job, told):
            self.complain(f"promise 2: {token} starts although somebody was told that the job is {told}")

    def _may_return(self, queue: str, job: JobId, told: JobState) -> bool:
        """A job that moved may be moved back, and a memory queue that lost its process knows of nothing."""
        return told is JobState.MOVED or not self.ledgers[queue].durable

    def _opened(self, queue: str, incarnation: str, suspended: bool) -> None:
        self._incarnations[queue] = incarnation

    def _end(self, job: JobId, token: Token, worker: str, how: str) -> None:
        self._in_hand[worker].pop(token, None)
        self.running.pop(token, None)
        self._ends[worker.partition("/")[0], job, token.attempt] = how

    def _state_spoilt(self, worker: str, epoch: int) -> None:
        self._spoilt[worker] = epoch

    def _down(self, actor: str) -> None:
        kind, _, name = actor.partition("/")
        if kind == "worker":
            self._in_hand.pop(name, None)
            for token in [token for token, (worker, _) in self.running.items() if worker == name]:
                del self.running[token]
        elif kind == "queue" and not self.ledgers[name].durable:
            self._losses[name] += 1
            self._suspended.discard(name)
            self._cancelled = {pair for pair in self._cancelled if pair[0] != name}

    # -- in stores -----------------------------------------------------------------------------

    def crashed(self, queue: str, present: list[JobId]) -> None:
        """A queue's process is gone; a job that it was moving at that moment may be in both queues: the price of being in one at least."""
        self._held_at_a_crash.update((queue, job) for job in present)

    def twice_by_rights(self, job: JobId) -> bool:
        held = any((queue, job) in self._held_at_a_crash for queue in self.ledgers)
        return held or job in self._unheard or job in self._taken_anew

    def entered(self, queue: str, job: JobId) -> bool:
        """Whether a queue's store ever had a job."""
        return (queue, job) in self._ever_entered

    def enters(self, queue: str, waiting: int, jobs: Sequence[JobRecord]) -> None:
        """A store in which so many jobs wait is given jobs that it does not have."""
        self.door.check_room(queue, waiting, jobs)

    def kept(self, queue: str, step: str, job: JobRecord) -> None:
        """A store has confirmed that a job entered, left, or stands as it is, or says that it is claimed."""
        self._ends_of_attempts.kept(queue, step, job)
        if step == "entered unheard":
            self._unheard.add(job.id)
        if step.startswith("entered"):
            if self._ever_entered.setdefault((queue, job.id), self._losses[queue]) != self._losses[queue]:
                self._taken_anew.add(job.id)  # it had moved on, say, and the queue does not know any more
        elif step == "left":
            self._ever_left.add((queue, job.id, job.state))
            self._check_left(queue, job)
        elif step == "stands":
            self._check_stands(queue, job)

    def _check_left(self, queue: str, job: JobRecord) -> None:
        if job.state is JobState.DONE and self._ends.get((queue, job.id, job.attempt)) != "ok":
            self.complain(f"promise 2: job {job.id} left queue {queue} as done, and attempt {job.attempt} has not succeeded")
        if job.state is JobState.CANCELLED and (queue, job.id) not in self._asked["cancel"]:
            self.complain(f"promise 2: job {job.id} left queue {queue} as cancelled, and nobody asked for it")
        if job.state is JobState.MOVED:
            if job.moved_to is None or (job.moved_to, job.id) not in self._ever_entered:
                self.complain(f"promise 3: job {job.id} left queue {queue} for {job.moved_to}, which does not have it")
            if (queue, job.id) not in self._asked["move"] and job.failures != self._times[queue] + 1:
                why = f"nobody asked, and it failed {job.failures} times"
                self.complain(f"promise 2: job {job.id} left queue {queue} for {job.moved_to}: {why}")

    def _check_stands(self, queue: str, job: JobRecord) -> None:
        times = self._times[queue]
        if job.state is JobState.ABANDONED and job.failures != times + 1:
            self.complain(f"promise 2: job {job.id} is abandoned after {job.failures} failures; {times + 1} attempts are its due")
        if job.state is not JobState.ABANDONED and job.failures > times:
            self.complain(f"promise 2: job {job.id} waits for another attempt after {job.failures} failures; Retry(times={times})")
        if job.redeliveries > self._max_redeliveries:
            self.complain(f"promise 7: job {job.id} was given back {job.redeliveries} times; the cap is {self._max_redeliveries}")
        error = job.last_error
        if (error is not None and error.attempt == job.attempt and job.started_at is None) or job.state is JobState.ABANDONED:
            self._check_reason(queue, job)

    def _check_reason(self, queue: str, job: JobRecord) -> None:
        error = job.last_error
        if error is None or error.attempt != job.attempt or job.attempt == 0:
            return
        truth = self._ends.get((queue, job.id, job.attempt))
        known = _OF_THE_JOB | _OF_THE_CLUSTER
        if error.kind not in known:
            self.complain(f"promise 7: job {job.id} failed for an unknown reason, {error}")
        if truth == "ok" and error.kind in ("exception", "exit", "out_of_memory") and error.class_name not in _OF_THE_HOUSE:
            self.complain(f"promise 7: attempt {job.attempt} at job {job.id} succeeded, and is known as {error}")
        if truth not in (None, "ok") and error.kind not in (truth, "poison", "timeout") and error.kind not in _OF_THE_CLUSTER \
                and error.class_name not in _OF_THE_HOUSE and not (error.kind == "signal" and error.signal == 9):
            self.complain(f"promise 7: attempt {job.attempt} at job {job.id} ended by {truth}, and is known as {error}")
        if error.kind == "timeout" and job.timeout_s is None:
            self.complain(f"promise 7: attempt {job.attempt} at job {job.id} timed out, and has no timeout")

    # -- at clients ----------------------------------------------------------------------------

    def _custody(self, queue: str, jobs: list[JobId]) -> None:
        for job in jobs:
            if (queue, job) not in self._ever_entered:
                self.complain(f"promise 1: queue {queue} acknowledged job {job}, which its store has not confirmed")

    def _client_told(self, client: str, queue: str, job: JobId, state: str, attempts: int) -> None:
        end = JobState(state)
        before = self.told.get((queue, job))
        self.told[queue, job] = end
        if before not in (None, end) and (queue, job) not in self._asked["retry"] and not self._may_return(queue, job, before):
            self.complain(f"promise 11: of job {job} one was told that it is {before}, and another that it is {end}")
        gone = end in (JobState.DONE, JobState.MOVED, JobState.CANCELLED)
        if gone and (queue, job, end) not in self._ever_left and not self._left_unseen(queue, job):
            self.complain(f"promise 1: {client} was told that job {job} is {end}, and the store of queue {queue} has not confirmed it")

    def _left_unseen(self, queue: str, job: JobId) -> bool:
        """Whether it was being let go when the queue's process died, and the next did not find it."""
        entry = self.ledgers[queue].entries.get(job)
        return entry is not None and entry.left is not None

    def _told_otherwise(self, client: str, queue: str, job: JobId, before: str, now: str) -> None:
        if (queue, job) not in self._asked["retry"] and not self._may_return(queue, job, JobState(before)):
            self.complain(f"promise 11: {client} was told that job {job} is {before}, and then that it is {now}")

    def _client_asked(self, what: str, queue: str, job: JobId = None) -> None:
        self._losses_when_asked[what, queue, job] = self._losses[queue]
        if what == "resume":
            self._suspended.discard(queue)
        elif what == "retry":
            self._cancelled.discard((queue, job))
        if job is not None:
            self._asked[what].add((queue, job))

    def _client_answered(self, what: str, queue: str, answer: str, job: JobId = None) -> None:
        if self._losses_when_asked[what, queue, job] != self._losses[queue]:
            return  # what it was told is forgotten
        if what == "suspend":
            self._suspended.add(queue)
        elif what == "cancel" and answer == "cancelled":
            self._cancelled.add((queue, job))

    # -- at the end ----------------------------------------------------------------------------

    def starts(self, queue: str, job: JobId) -> int:
        return self._starts[queue, job]

    def ended_ok(self, queue: str, job: JobId) -> bool:
        return any(how == "ok" for (of, name, _), how in self._ends.items() if (of, name) == (queue, job))

    def where(self, job: JobId) -> list[tuple[str, str]]:
        """Every place where a job is to be found: a queue, and how it stands or left there."""
        places: list[tuple[str, str]] = []
        for queue, ledger in self.ledgers.items():
            entry = ledger.entries.get(job)
            if entry is not None:
                places.append((queue, str(entry.record.state if entry.left is None else entry.left)))
            elif job in ledger.lost:
                places.append((queue, "lost with the memory of a process"))
        return places
