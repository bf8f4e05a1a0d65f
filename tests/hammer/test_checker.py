"""Each rule of the checker has histories that break it, and near ones that do not: see the tales."""

from __future__ import annotations

import pytest

from tests.hammer import tales_of_custody, tales_of_retries, tales_of_runs, tales_of_the_end  # noqa: F401  they tell them
from tests.hammer.checker import RULES, check
from tests.hammer.story import BREAKS, KEEPS, Story, Tale


def broken_by(tale: Tale) -> set[str]:
    story = Story()
    story.queue()
    story.done("well")  # something must have gone well
    tale(story)
    events = story.events if story.events[-1].what == "left" else story.end()
    return {violation.rule for violation in check(events).violations}


def _id(value: object) -> str:
    return value.replace(" ", "-") if isinstance(value, str) else value.__name__  # type: ignore[attr-defined]


@pytest.mark.parametrize(("rule", "tale"), BREAKS, ids=_id)
def test_a_history_that_breaks_the_rule_is_caught(rule: str, tale: Tale) -> None:
    assert broken_by(tale) == {rule}


@pytest.mark.parametrize(("rule", "tale"), KEEPS, ids=_id)
def test_a_history_that_does_not_passes_every_rule(rule: str, tale: Tale) -> None:
    assert broken_by(tale) == set()


def test_every_rule_is_broken_by_some_history() -> None:
    assert {rule for rule, _ in BREAKS} == set(RULES)


def test_the_account_counts_what_at_least_once_allows() -> None:
    story = Story()
    story.queue()
    story.enqueue("a")
    story.run("a", pid=1)
    story.fault("worker", pids=(1,))
    story.run("a", pid=2)
    story.enqueue("b", answer=None)
    story.run("b", pid=2)
    account = check(story.end())
    assert account.violations == []
    assert {what: number for what, number in account.counts.items() if number} == {
        "jobs": 2, "acknowledged": 1, "uncertain": 1, "recovered": 1, "runs": 3, "done": 2, "done again": 1, "fault(s) worker": 1}


def test_events_that_make_no_sense_are_refused() -> None:
    story = Story()
    story.note("enqueued", uid="a")
    with pytest.raises(ValueError, match="'enqueued' is no event"):
        check(story.events)
    story = Story()
    story.enqueue("a")
    story.note("enq.fail", uid="a")
    with pytest.raises(ValueError, match="two answers"):
        check(story.events)


def test_a_history_without_a_run_is_worth_nothing() -> None:
    story = Story()
    story.queue()
    assert {violation.rule for violation in check(story.end()).violations} == {"exercised"}
