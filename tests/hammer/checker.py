"""Whether a history keeps the promises: "total-queue plus".

A history is valid if no rule is broken. What at-least-once allows - a run again after a fault that
touched it - is counted and reported. Plain functions of a history, O(n); nothing here knows Ray.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.hammer import rules_of_custody, rules_of_runs, rules_of_the_end
from tests.hammer.history import History
from tests.hammer.recorder import Event


class Violation(NamedTuple):
    """A broken rule, the job it was broken on, if one, and how."""

    rule: str
    uid: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {f'job {self.uid} ' if self.uid else ''}{self.text}"


Rule = Callable[[History], Iterator[tuple[str, str]]]

RULES: dict[str, Rule] = {
    "lost": rules_of_custody.lost,
    "unexpected": rules_of_custody.unexpected,
    "phantom": rules_of_custody.phantom,
    "disposition": rules_of_custody.disposition,
    "cancel": rules_of_custody.cancel,
    "duplicated": rules_of_runs.duplicated,
    "overlap": rules_of_runs.overlap,
    "suspend": rules_of_runs.suspend,
    "retry bound": rules_of_runs.retry_bound,
    "early": rules_of_runs.early,
    "order": rules_of_runs.order,
    "result": rules_of_the_end.result,
    "leak": rules_of_the_end.leak,
    "liveness": rules_of_the_end.liveness,
    "exercised": rules_of_the_end.exercised,
}


@dataclass(frozen=True)
class Account:
    """What a history comes to."""

    violations: list[Violation]
    counts: dict[str, int]

    def __str__(self) -> str:
        told = ", ".join(f"{number} {what}" for what, number in self.counts.items() if number)
        broken = [f"  {violation}" for violation in self.violations]
        return "\n".join([told or "nothing happened", *broken])


def check(events: Iterable[Event], rules: Iterable[str] = RULES) -> Account:
    """Hold a history against the rules."""
    history = History.of(events)
    violations = [Violation(name, uid, text) for name in rules for uid, text in RULES[name](history)]
    return Account(violations, _counts(history))


def _counts(history: History) -> dict[str, int]:
    runs = [run for of_job in history.runs.values() for run in of_job]
    done = {run.uid for run in runs if run.ok}
    return {
        "jobs": len(history.enqueued),
        "acknowledged": sum(call.ok for call in history.enqueued.values()),
        "uncertain": sum(call.answer == "info" for call in history.enqueued.values()),
        "recovered": sum(call.answer == "info" and (call.uid in done or call.uid in history.places) for call in history.enqueued.values()),
        "runs": len(runs),
        "runs cut short": sum(run.ok is None for run in runs),
        "done": len(done),
        "done again": sum(run.ok is True for run in runs) - len(done),
        **dict(sorted(Counter(f"told {result.outcome}" for result in history.results).items())),
        **dict(sorted(Counter(f"fault(s) {fault.kind}" for fault in history.faults.values()).items())),
    }
