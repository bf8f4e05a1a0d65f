"""A queue's past as a Chrome trace, which Perfetto (https://ui.perfetto.dev) opens."""

from __future__ import annotations

from itertools import count
from typing import Any

from honeydew_ray.attempts import Attempt, Past, slot_of
from honeydew_ray.events import Event, EventKind

_QUEUE_PID = 1
_SCOPES = {EventKind.NODE_LOST: "g", EventKind.SUSPENDED: "p", EventKind.RESUMED: "p", EventKind.QUEUE_STARTED: "p"}


def chrome_trace(past: Past) -> dict[str, Any]:
    """The past in the JSON object form of the trace event format; times are microseconds from its beginning.

    A process per node with a thread per lane of a worker; the queue is a process of its own, with the waits of jobs (async
    slices), and counters of how many wait and run. Arrows lead from an attempt that did not settle its job to the next.
    """
    return {
        "traceEvents": _Trace(past).events(),
        "displayTimeUnit": "ms",
        "otherData": {"queues": ", ".join(past.queues), "begins_at_s_since_epoch": past.begin, "cut": past.cut},
    }


class _Trace:
    def __init__(self, past: Past) -> None:
        self._past = past
        nodes = sorted({attempt.node for attempt in past.attempts} | {event.node for event in past.news if event.node})
        self._pids = {node: pid for pid, node in enumerate(nodes, _QUEUE_PID + 1)}
        self._tids: dict[tuple[str, str, int], int] = {}  # by node, slot and lane
        self._node_of = {attempt.worker: attempt.node for attempt in past.attempts}
        for node, slot, lane in sorted({(attempt.node, slot_of(attempt.worker), attempt.lane) for attempt in past.attempts}):
            self._tids[node, slot, lane] = len(self._tids) + 1

    def events(self) -> list[dict[str, Any]]:
        timed = [*map(self._slice, self._past.attempts), *self._waits(), *self._arrows(), *self._counters(), *self._instants()]
        return self._names() + sorted(timed, key=lambda event: event["ts"])  # stable: what belongs together stays in its order

    def _names(self) -> list[dict[str, Any]]:
        def name(what: str, pid: int, tid: int, text: str) -> dict[str, Any]:
            return {"ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0, "args": {"name": text}}

        names = [name("process_name", _QUEUE_PID, 0, f"queue {', '.join(self._past.queues)}")]
        names += [name("process_name", pid, 0, f"node {node[:12]}") for node, pid in self._pids.items()]
        for (node, slot, lane), tid in self._tids.items():
            names.append(name("thread_name", self._pids[node], tid, slot if lane == 0 else f"{slot} ({lane + 1})"))
        return names

    def _slice(self, attempt: Attempt) -> dict[str, Any]:
        args: dict[str, Any] = {"job": _text(attempt.job_id), "queue": attempt.queue, "attempt": attempt.number, "outcome": attempt.outcome,
                                "worker": attempt.worker, "waited_s": round(attempt.waited_s, 6)}
        if attempt.failure is not None:
            args["reason"] = str(attempt.failure)
        begin, end = self._us(attempt.started_at), self._us(attempt.ended_at)
        return {"ph": "X", "name": attempt.method or "job", "cat": f"attempt,{attempt.outcome}", **self._place(attempt), "ts": begin,
                "dur": end - begin, "args": args}

    def _waits(self) -> list[dict[str, Any]]:
        waits: list[dict[str, Any]] = []
        for number, attempt in enumerate(self._past.attempts):
            if attempt.waited_s > 0:
                common = {"name": "waiting", "cat": "wait", "id": f"wait-{number}", "pid": _QUEUE_PID, "tid": 0}
                args = {"job": _text(attempt.job_id), "queue": attempt.queue, "method": attempt.method}
                waits.append({"ph": "b", **common, "ts": self._us(attempt.started_at - attempt.waited_s), "args": args})
                waits.append({"ph": "e", **common, "ts": self._us(attempt.started_at)})
        return waits

    def _arrows(self) -> list[dict[str, Any]]:
        arrows: list[dict[str, Any]] = []
        numbers = count(1)
        for first, then in self._past.again():
            common = {"name": first.outcome, "cat": "again", "id": next(numbers)}
            arrows.append({"ph": "s", **common, **self._place(first), "ts": self._us(first.started_at)})
            arrows.append({"ph": "f", "bp": "e", **common, **self._place(then), "ts": self._us(then.started_at)})
        return arrows

    def _counters(self) -> list[dict[str, Any]]:
        series = {"waiting": self._past.waiting(), "running": self._past.running()}
        return [{"ph": "C", "name": name, "pid": _QUEUE_PID, "tid": 0, "ts": self._us(at), "args": {"jobs": jobs}}
                for name, steps in series.items() for at, jobs in steps]

    def _instants(self) -> list[dict[str, Any]]:
        return [self._instant(event) for event in self._past.news]

    def _instant(self, event: Event) -> dict[str, Any]:
        node = event.node or (self._node_of.get(event.worker) if event.worker else None)
        place = {"pid": _QUEUE_PID, "tid": 0}
        if node is not None:
            tid = 0 if event.worker is None else self._tids.get((node, slot_of(event.worker), 0), 0)
            place = {"pid": self._pids[node], "tid": tid}
        facts = {name: value for name, value in event.facts().items() if name not in ("number", "at", "kind", "failure")}
        if event.failure is not None:
            facts["reason"] = str(event.failure)
        return {"ph": "i", "name": event.kind.value, "cat": "news", "s": _SCOPES.get(event.kind, "t"), **place, "ts": self._us(event.at),
                "args": facts}

    def _place(self, attempt: Attempt) -> dict[str, int]:
        return {"pid": self._pids[attempt.node], "tid": self._tids[attempt.node, slot_of(attempt.worker), attempt.lane]}

    def _us(self, at: float) -> int:
        return round((at - self._past.begin) * 1e6)


def _text(job_id: Any) -> str:
    return job_id if isinstance(job_id, str) else repr(job_id)
