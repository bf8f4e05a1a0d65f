"""Each rule of the checker has histories that break it, and the nearest ones that do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hammer.checker import RULES, check
from tests.hammer.story import Story

Tale = Callable[[Story], None]
BREAKS: list[tuple[str, Tale]] = []
KEEPS: list[tuple[str, Tale]] = []


def breaks(rule: str) -> Callable[[Tale], Tale]:
    """A history that breaks this rule, and no other."""
    return lambda tale: BREAKS.append((rule, tale)) or tale  # type: ignore[func-returns-value]


def keeps(rule: str) -> Callable[[Tale], Tale]:
    """A history that comes near to breaking this rule, and does not."""
    return lambda tale: KEEPS.append((rule, tale)) or tale  # type: ignore[func-returns-value]


def broken_by(tale: Tale) -> set[str]:
    story = Story()
    story.queue()
    story.done("well")  # something must have gone well
    tale(story)
    events = story.events if story.events[-1].what == "left" else story.end()
    return {violation.rule for violation in check(events).violations}


# -- lost ----------------------------------------------------------------------------------------


@breaks("lost")
def acknowledged_and_gone(story: Story) -> None:
    story.enqueue("a")


@breaks("lost")
def acknowledged_and_only_failed(story: Story) -> None:
    story.enqueue("a")
    story.run("a", ok=False)


@breaks("lost")
def gone_with_a_durable_queue(story: Story) -> None:
    story.enqueue("a")
    story.fault("queue", queues=("q",))


@breaks("lost")
def gone_from_a_memory_queue_that_did_not_die(story: Story) -> None:
    story.queue("m", durable=False)
    story.enqueue("a", queue="m")
    story.fault("queue", queues=("q",))


@breaks("lost")
def gone_from_a_memory_queue_that_had_died_before(story: Story) -> None:
    story.queue("m", durable=False)
    story.fault("queue", queues=("m",))
    story.wait(10)
    story.enqueue("a", queue="m")


@breaks("lost")
def moved_from_a_memory_queue_to_a_durable_one_and_gone(story: Story) -> None:
    story.queue("m", durable=False)
    story.enqueue("a", queue="m")
    story.ask("move", "a", queue="m", to="q")
    story.fault("queue", queues=("m",))


@breaks("lost")
def a_cancel_that_found_nothing_does_not_excuse_a_loss(story: Story) -> None:
    story.enqueue("a")
    story.ask("cancel", "a", answer="fail")


@keeps("lost")
def uncertain_and_gone(story: Story) -> None:
    story.fault("worker", pids=(9,))
    story.enqueue("a", answer="info")
    story.enqueue("b", answer=None)
    story.enqueue("c", answer="fail")


@keeps("lost")
def in_the_dead_list(story: Story) -> None:
    story.enqueue("a")
    story.run("a", ok=False)
    story.place("a", "abandoned")


@keeps("lost")
def cancelled(story: Story) -> None:
    story.enqueue("a")
    story.ask("cancel", "a")


@keeps("lost")
def cancelled_by_a_try_whose_answer_was_lost(story: Story) -> None:
    story.enqueue("a")
    story.note("cancel.invoke", uid="a", queue="q")
    story.fault("queue", queues=("q",))
    story.note("cancel.fail", uid="a")


@keeps("lost")
def lost_with_a_memory_queue_and_said_so(story: Story) -> None:
    story.queue("m", durable=False)
    story.enqueue("a", queue="m", waits=True)
    story.fault("queue", queues=("m",))
    story.tell("a", "lost", queue="m")


# -- unexpected, phantom -------------------------------------------------------------------------


@breaks("unexpected")
def a_run_of_nothing(story: Story) -> None:
    story.run("a")


@breaks("unexpected")
def a_job_in_a_queue_that_nobody_enqueued(story: Story) -> None:
    story.place("a", "abandoned")


@keeps("unexpected")
def a_run_of_an_uncertain_job(story: Story) -> None:
    story.fault("worker", pids=(9,))
    story.enqueue("a", answer=None)
    story.run("a")


@breaks("phantom")
def a_run_of_a_refused_job(story: Story) -> None:
    story.fault("worker", pids=(9,))
    story.enqueue("a", answer="fail")
    story.run("a")


@breaks("phantom")
def a_refused_job_in_a_queue(story: Story) -> None:
    story.fault("worker", pids=(9,))
    story.enqueue("a", answer="fail")
    story.place("a", "abandoned")


# -- disposition ---------------------------------------------------------------------------------


@breaks("disposition")
def in_two_queues(story: Story) -> None:
    story.queue("r")
    story.enqueue("a")
    story.run("a", ok=False)
    story.place("a", "abandoned")
    story.place("a", "abandoned", queue="r")


@breaks("disposition")
def twice_in_one_queue_even_after_a_split_move(story: Story) -> None:
    story.queue("r")
    story.enqueue("a")
    story.note("move.invoke", uid="a", queue="q", to="r")
    story.fault("queue", queues=("q",))
    story.note("move.ok", uid="a")
    story.place("a", "abandoned", queue="r")
    story.place("a", "abandoned", queue="r")


@breaks("disposition")
def done_and_still_there(story: Story) -> None:
    story.enqueue("a", waits=True)
    story.tell("a", "done", story.run("a"))
    story.place("a", "abandoned")


@breaks("disposition")
def abandoned_and_not_in_the_dead_list(story: Story) -> None:
    story.queue("r")
    story.enqueue("a", waits=True)
    story.run("a", ok=False)
    story.tell("a", "abandoned")
    story.place("a", "pending", queue="r")


@keeps("disposition")
def in_two_queues_after_a_fault_between_the_halves_of_a_move(story: Story) -> None:
    story.queue("r")
    story.enqueue("a")
    story.note("move.invoke", uid="a", queue="q", to="r")
    story.fault("queue", queues=("q",))
    story.note("move.ok", uid="a")
    story.place("a", "abandoned")
    story.place("a", "abandoned", queue="r")


@keeps("disposition")
def moved(story: Story) -> None:
    story.queue("r")
    story.enqueue("a", waits=True)
    story.ask("move", "a", to="r")
    story.tell("a", "moved", "r")
    story.place("a", "abandoned", queue="r")


# -- cancel --------------------------------------------------------------------------------------


@breaks("cancel")
def started_after_it_was_cancelled(story: Story) -> None:
    story.enqueue("a")
    story.ask("cancel", "a")
    story.run("a")


@keeps("cancel")
def ran_before_it_was_cancelled(story: Story) -> None:
    story.enqueue("a")
    story.begin("a")
    story.ask("cancel", "a")


@keeps("cancel")
def ran_though_somebody_tried_to_cancel(story: Story) -> None:
    story.enqueue("a")
    story.ask("cancel", "a", answer="fail")
    story.run("a")


# -- duplicated ----------------------------------------------------------------------------------


@breaks("duplicated")
def done_twice_without_a_fault(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", queue="d")
    story.run("a", queue="d")


@breaks("duplicated")
def done_twice_though_the_fault_was_elsewhere(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", pid=1, queue="d")
    story.fault("worker", pids=(2,))
    story.run("a", pid=3, queue="d")


@breaks("duplicated")
def done_twice_though_the_fault_came_later(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", pid=1, queue="d")
    story.run("a", pid=3, queue="d")
    story.wait(10)
    story.fault("worker", pids=(1,))


@breaks("duplicated")
def done_three_times_for_one_fault(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", pid=1, queue="d")
    story.fault("node", pids=(1, 2))
    story.run("a", pid=2, queue="d")
    story.run("a", pid=3, queue="d")


@breaks("duplicated")
def done_twice_because_its_durable_queue_died(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", queue="d")
    story.fault("queue", queues=("d",))
    story.run("a", pid=3, queue="d")


@breaks("duplicated")
def done_twice_because_its_worker_was_stopped_for_a_while(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", pid=1, queue="d")
    story.fault("worker_pause", pids=(1,))
    story.run("a", pid=3, queue="d")


@keeps("duplicated")
def done_again_as_its_worker_was_killed(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", pid=1, queue="d")
    story.fault("worker", pids=(1,))
    story.run("a", pid=3, queue="d")


@breaks("duplicated")
def done_twice_because_the_next_job_killed_the_worker(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.enqueue("b", queue="d")
    story.run("a", queue="d")
    story.run("b", ok=False, dies=True, queue="d")
    story.run("a", pid=2, queue="d")
    story.run("b", pid=2, queue="d")


@keeps("duplicated")
def done_again_because_the_next_job_of_its_lease_killed_the_worker(story: Story) -> None:
    story.queue("d", leases=True)
    story.enqueue("a", queue="d")
    story.enqueue("b", queue="d")
    story.run("a", queue="d")
    story.run("b", ok=False, dies=True, queue="d")
    story.run("a", pid=2, queue="d")
    story.place("b", "abandoned", queue="d")


# -- overlap -------------------------------------------------------------------------------------


@breaks("overlap")
def two_at_once(story: Story) -> None:
    story.enqueue("a")
    one = story.begin("a", pid=1)
    two = story.begin("a", pid=2)
    story.note("end", run=one, ok=False)
    story.note("end", run=two, ok=True)
    story.fault("worker", pids=(1,))
    story.tell("a", "done", two)


@breaks("overlap")
def not_alone(story: Story) -> None:
    story.enqueue("a")
    story.begin("a", pid=1)
    story.fault("worker", pids=(1,))
    story.run("a", pid=2, alone=False)


@keeps("overlap")
def not_alone_as_its_node_was_lost(story: Story) -> None:
    story.enqueue("a")
    story.begin("a", pid=1)
    story.fault("node", pids=(1,))
    story.run("a", pid=2, alone=False)


@keeps("overlap")
def one_after_the_other(story: Story) -> None:
    story.enqueue("a")
    story.begin("a", pid=1)
    story.fault("worker", pids=(1,))
    story.run("a", pid=2)


# -- suspend -------------------------------------------------------------------------------------


@breaks("suspend")
def started_while_suspended(story: Story) -> None:
    story.note("suspend.ok", queue="q")
    story.wait(1)
    story.done("a")
    story.note("resume.invoke", queue="q")


@breaks("suspend")
def started_while_suspended_though_the_durable_queue_died(story: Story) -> None:
    story.note("suspend.ok", queue="q")
    story.fault("queue", queues=("q",))
    story.done("a")


@keeps("suspend")
def started_after_it_was_resumed(story: Story) -> None:
    story.note("suspend.ok", queue="q")
    story.note("resume.invoke", queue="q")
    story.done("a")


@keeps("suspend")
def started_in_another_queue(story: Story) -> None:
    story.queue("r")
    story.note("suspend.ok", queue="r")
    story.wait(1)
    story.done("a")
    story.note("resume.invoke", queue="r")


@keeps("suspend")
def a_memory_queue_that_died_has_forgotten(story: Story) -> None:
    story.queue("m", durable=False)
    story.note("suspend.ok", queue="m")
    story.fault("queue", queues=("m",))
    story.enqueue("a", queue="m")
    story.run("a", queue="m")


# -- retry bound ---------------------------------------------------------------------------------


@breaks("retry bound")
def started_once_too_often(story: Story) -> None:
    story.queue("r", times=2)
    story.enqueue("a", queue="r")
    for _ in range(4):
        story.run("a", ok=False, queue="r")
    story.place("a", "abandoned", queue="r")


@breaks("retry bound")
def more_redeliveries_than_the_cap(story: Story) -> None:
    story.queue("r", max_redeliveries=1)
    story.enqueue("a", queue="r")
    for pid in range(4):
        story.begin("a", queue="r", pid=pid)
        story.fault("node", pids=(pid,))
    story.place("a", "abandoned", queue="r")


@breaks("retry bound")
def given_up_too_early(story: Story) -> None:
    story.queue("r", times=2)
    story.enqueue("a", queue="r", waits=True)
    story.run("a", ok=False, queue="r")
    story.run("a", ok=False, queue="r")
    story.tell("a", "abandoned", queue="r")
    story.place("a", "abandoned", queue="r")


@keeps("retry bound")
def started_as_often_as_allowed(story: Story) -> None:
    story.queue("r", times=2)
    story.enqueue("a", queue="r", waits=True)
    for _ in range(3):
        story.run("a", ok=False, queue="r")
    story.tell("a", "abandoned", queue="r")
    story.place("a", "abandoned", queue="r")


@keeps("retry bound")
def started_once_more_as_the_queue_died_with_the_worker(story: Story) -> None:
    story.enqueue("a")
    story.run("a", ok=False, dies=True, pid=1)
    story.fault("queue", queues=("q",))
    story.run("a", pid=2)


@breaks("retry bound")
def started_once_more_though_the_queue_died_long_after(story: Story) -> None:
    story.enqueue("a")
    story.run("a", ok=False, dies=True, pid=1)
    story.wait(5)
    story.fault("queue", queues=("q",))
    story.run("a", pid=2)


@keeps("retry bound")
def started_once_more_for_the_loss_of_a_node_it_had_come_to_meanwhile(story: Story) -> None:
    story.enqueue("a")
    story.note("fault", id="f", kind="node_pause", pids=(), queues=(), nodes=("n2",))
    story.begin("a", pid=1, node="n2")
    story.note("healed", id="f")
    story.run("a", pid=2)


@breaks("retry bound")
def started_once_more_though_another_node_was_lost(story: Story) -> None:
    story.enqueue("a")
    story.begin("a", pid=1, node="n2")
    story.fault("node", pids=(5,), nodes=("n3",))
    story.run("a", pid=2)


@keeps("retry bound")
def started_once_more_for_a_fault(story: Story) -> None:
    story.enqueue("a")
    story.begin("a", pid=1)
    story.fault("node", pids=(1,))
    story.run("a", pid=2)


# -- early, order --------------------------------------------------------------------------------


@breaks("early")
def started_too_early(story: Story) -> None:
    story.done("a", delay_s=5.0)


@keeps("early")
def started_when_due(story: Story) -> None:
    story.enqueue("a", delay_s=5.0)
    story.wait(3)
    story.run("a")


def in_line(story: Story, *started: str) -> None:
    story.queue("f", fifo=True)
    for uid in "abc":
        story.enqueue(uid, queue="f")
    for uid in started:
        story.run(uid, queue="f")


@breaks("order")
def out_of_turn(story: Story) -> None:
    in_line(story, "a", "c", "b")


@keeps("order")
def in_turn(story: Story) -> None:
    in_line(story, "a", "b", "c")


@keeps("order")
def out_of_turn_after_a_fault(story: Story) -> None:
    story.fault("worker", pids=(1,))
    in_line(story, "a", "c", "b")


# -- result --------------------------------------------------------------------------------------


@breaks("result")
def told_twice(story: Story) -> None:
    story.enqueue("a", waits=True)
    run = story.run("a")
    story.tell("a", "done", run)
    story.tell("a", "done", run)


@breaks("result")
def told_the_result_of_no_run(story: Story) -> None:
    story.done("a", waits=True)
    story.tell("a", "done", "run-0")


@breaks("result")
def told_the_result_of_a_run_that_failed(story: Story) -> None:
    story.queue("r", times=1)
    story.enqueue("a", queue="r", waits=True)
    failed = story.run("a", ok=False, queue="r")
    story.run("a", queue="r")
    story.tell("a", "done", failed, queue="r")


@breaks("result")
def told_that_it_was_abandoned_though_nothing_failed(story: Story) -> None:
    story.done("a", waits=True)
    story.tell("a", "abandoned")
    story.place("a", "abandoned")


@breaks("result")
def told_that_it_was_cancelled_by_nobody(story: Story) -> None:
    story.done("a", waits=True)
    story.tell("a", "cancelled")


@breaks("result")
def told_that_it_moved_to_where_it_is_not(story: Story) -> None:
    story.queue("r")
    story.done("a", waits=True)
    story.tell("a", "moved", "r")


@breaks("result")
def told_that_a_durable_queue_lost_it(story: Story) -> None:
    story.done("a", waits=True)
    story.fault("queue", queues=("q",))
    story.tell("a", "lost")


@breaks("result")
def told_of_an_error_of_the_library(story: Story) -> None:
    story.done("a", waits=True)
    story.tell("a", "error", "KeyError")


@keeps("result")
def told_to_two_waiters(story: Story) -> None:
    story.enqueue("a", waits=True)
    run = story.run("a")
    story.tell("a", "done", run)
    story.tell("a", "done", run, waiter="d2")


# -- leak ----------------------------------------------------------------------------------------


@breaks("leak")
def a_job_in_progress_at_the_end(story: Story) -> None:
    story.end(in_progress=1)


@breaks("leak")
def a_job_waiting_at_the_end(story: Story) -> None:
    story.end(pending=1)


@breaks("leak")
def a_worker_busy_at_the_end(story: Story) -> None:
    story.end(busy=1)


@breaks("leak")
def processes_left(story: Story) -> None:
    story.end(left={"processes": {"17": "ray::WorkerActor"}})


@breaks("leak")
def reserved_cpus_left(story: Story) -> None:
    story.end(left={"cpus": 1.0})


# -- liveness ------------------------------------------------------------------------------------


@breaks("liveness")
def a_waiter_that_hears_nothing(story: Story) -> None:
    story.done("a", waits=True)


@breaks("liveness")
def a_waiter_whose_time_was_out(story: Story) -> None:
    story.done("a", waits=True)
    story.tell("a", "timeout")


@breaks("liveness")
def a_queue_never_seen_empty(story: Story) -> None:
    story.end()
    story.queue("r")
    story.note("left")


@breaks("liveness")
def empty_too_late(story: Story) -> None:
    story.fault("worker", pids=(9,))
    story.end(load_ended=story.now)
    final = next(event for event in story.events if event.what == "final")
    story.events[story.events.index(final)] = final._replace(at=final.at + 70)


@breaks("liveness")
def a_driver_that_ended_with_an_error(story: Story) -> None:
    story.note("broken", who="driver d1", error="KeyError")


@keeps("liveness")
def a_waiter_that_was_killed(story: Story) -> None:
    story.done("a", waits=True)
    story.fault("driver", pids=(7,), drivers=("d1",))


# -- exercised -----------------------------------------------------------------------------------


@breaks("exercised")
def a_planned_fault_that_did_not_happen(story: Story) -> None:
    story.fault("worker", pids=(9,))
    story.end(planned={"worker": 2})


@breaks("exercised")
def an_enqueue_without_an_answer_though_there_was_no_fault(story: Story) -> None:
    story.enqueue("a", answer=None)


@keeps("exercised")
def as_many_faults_as_planned(story: Story) -> None:
    story.fault("worker", pids=(9,))
    story.end(planned={"worker": 1})


def test_a_history_without_a_run_is_worth_nothing() -> None:
    story = Story()
    story.queue()
    assert {violation.rule for violation in check(story.end()).violations} == {"exercised"}


# ------------------------------------------------------------------------------------------------


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
