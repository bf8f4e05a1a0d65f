"""Rules about workers that come and go: how many, that those let go have nothing in hand, and whom a probe may end."""

from __future__ import annotations

import asyncio

from honeydew_ray.actors import names
from honeydew_ray.job import Token
from tests.simulation.cluster import Cluster
from tests.simulation.rules import Known, Rules, process_of
from tests.simulation.scenario import Scenario


class StaffRules(Rules):
    """Elastic groups, nodes that drain, probes."""

    def __init__(self, known: Known, cluster: Cluster, scenario: Scenario) -> None:
        super().__init__(known)
        self._cluster = cluster
        self._staff = scenario.staff
        self._clock_is_set = "clock jumps" in scenario.faults
        self._retired: dict[str, tuple[str, float]] = {}  # by worker: the queue's process that was told, and when
        self._leaves_at: dict[str, float] = {}  # by node that drains, by the loop's time
        self._stopping: set[str] = set()  # queues whose group is being stopped
        self.hearers = {"staffed": self._staffed, "retiring": self._retiring, "retired": self._retire_done, "fencing": self._fencing,
                        "issued": self._issued, "fenced": self._fenced, "silent": self._silent, "fault": self._fault, "back": self._back,
                        "group_stopping": self._group_stopping, "group_stopped": self._group_stopped}

    def _staffed(self, queue: str, group: str, added: list[str], staff: list[str]) -> None:
        if queue != "main" or not self._staff.elastic:
            return
        if len(staff) > self._staff.least:
            self.known.cases["a group grew"] += 1
        if len(staff) > self._staff.most:
            self.known.complain(f"num: group {queue}/{group} adds {added}, and has {len(staff)} workers, more than {self._staff.most}")

    def _retiring(self, queue: str, workers: list[str], incarnation: str, shutdown_s: float | None) -> None:
        now = asyncio.get_running_loop().time()
        self._retired.update(dict.fromkeys(workers, (incarnation, now)))
        if queue in self._stopping or self._clock_is_set or shutdown_s is None:
            return
        for worker in workers:  # its node drains
            process = self._cluster.actors[names.worker_actor(worker)].process
            leaves_at = None if process is None else self._leaves_at.get(process.node)
            if leaves_at is not None and now + shutdown_s < leaves_at - 1.001:
                self.known.complain(f"drain: worker {worker} has {shutdown_s:g} s to finish, and its node leaves in {leaves_at - now:g} s")

    def _retire_done(self, queue: str, workers: list[str], incarnation: str, why: str, in_hand: list[Token]) -> None:
        if why == "dismissed":
            self.known.cases["a worker was dismissed"] += len(workers)
            self._retired.update(dict.fromkeys(workers, (incarnation, asyncio.get_running_loop().time())))
        elif queue not in self._stopping:
            self.known.cases["a worker was let go from a node that drains"] += 1
        if in_hand:
            self.known.complain(f"promise 7: workers {workers} were {why} with {in_hand} in hand")
        durable = self.known.ledgers[queue].durable
        for token, (worker, node) in self.known.running.items():
            if worker in workers and node not in self._cluster.cut_off and (durable or process_of(token) == incarnation):
                self.known.complain(f"promise 7: worker {worker} was {why} with nothing in hand, and {token} runs there")

    def _fencing(self, queue: str, worker: str, incarnation: str) -> None:
        self._retired[worker] = incarnation, asyncio.get_running_loop().time()

    def _issued(self, worker: str, tokens: list[Token], timeouts_s: list[float | None]) -> None:
        incarnation, since = self._retired.get(worker, ("", 0.0))
        if incarnation == process_of(tokens[0]) and asyncio.get_running_loop().time() > since:
            self.known.complain(f"promise 7: {tokens} are issued to worker {worker}, which gets no more jobs since {since:g}")

    def _fenced(self, worker: str) -> None:
        self.known.cases["a silent worker was fenced"] += 1
        process = self._cluster.actors[names.worker_actor(worker)].process
        if process is not None and process.computes:
            self.known.complain(f"promise 8: worker {worker} computes, and is ended as if it hung")

    def _silent(self, worker: str, silent_s: float, computed_s: float) -> None:
        if computed_s:
            self.known.cases["a worker that computes was left alone"] += 1

    def _fault(self, what: str, node: str = "", leaves_after_s: float | None = None, **facts: object) -> None:
        if leaves_after_s is not None:
            self._leaves_at[node] = asyncio.get_running_loop().time() + leaves_after_s

    def _back(self, node: str) -> None:
        self._leaves_at.pop(node, None)

    def _group_stopping(self, queue: str) -> None:
        self._stopping.add(queue)

    def _group_stopped(self, queue: str, prefix: str) -> None:
        self._stopping.discard(queue)
