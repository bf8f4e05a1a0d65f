"""Rules about what is ended: that it ends whole, and that nothing of it goes on."""

from __future__ import annotations

from honeydew_ray.job import JobId, JobState
from tests.simulation.cluster import Cluster
from tests.simulation.rules import Known, Rules


class StopRules(Rules):
    """`Queue.stop`, with and without ``drain``, and `stop_workers`."""

    def __init__(self, known: Known, cluster: Cluster) -> None:
        super().__init__(known)
        self._cluster = cluster
        self._stopped: set[str] = set()
        self.hearers = {"drained": self._drained, "group_stopped": self._group_stopped, "stopped": self._queue_stopped,
                        "started": self._queue_started, "start": self._job_started}

    def _drained(self, queue: str) -> None:
        ledger = self.known.ledgers[queue]
        present = {job: ledger.entries[job] for job in ledger.present()}
        left = [job for job, entry in present.items() if entry.record.state is not JobState.ABANDONED and not entry.unclear]
        if left:
            self.known.complain(f"stop: queue {queue} says that it is drained, and holds {left}")

    def _group_stopped(self, queue: str, prefix: str) -> None:
        for name in [name for name in self._cluster.actors if name.startswith(prefix)]:
            actor = self._cluster.actors[name]
            process = actor.process
            stillborn = actor.doomed and (process is None or not actor.instance.had_state)  # Ray ends it before anybody heard of it
            if not (actor.dead or stillborn or (process is not None and process.node in self._cluster.cut_off)):
                self.known.complain(f"stop: the workers of queue {queue} are stopped, and {name} is left over")

    def _queue_stopped(self, queue: str) -> None:
        self._stopped.add(queue)

    def _queue_started(self, queue: str) -> None:
        self._stopped.discard(queue)

    def _job_started(self, job: JobId, worker: str, node: str, **facts: object) -> None:
        if worker.partition("/")[0] in self._stopped and node not in self._cluster.cut_off:
            self.known.complain(f"stop: job {job} starts on worker {worker} though its queue is stopped")
