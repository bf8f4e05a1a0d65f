"""Histories that break the rules of runs, and the nearest ones that do not."""

from __future__ import annotations

from tests.hammer.history import BURIAL_S, SETTLE_S
from tests.hammer.story import Story, breaks, keeps

# -- duplicated ------------------------------------------------------------------------------------


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


def cancelled_as_it_ended(story: Story, fault: bool, **asked: bool) -> None:
    """A job that was done as its worker was ended, for a cancel, and so runs again."""
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", pid=1, queue="d")
    story.ask("cancel", "a", answer=None, queue="d", **asked)
    if fault:
        story.fault("queue", queues=("d",))
    story.run("a", pid=3, queue="d")


@keeps("duplicated")
def done_twice_as_its_queue_died_when_it_had_its_worker_ended(story: Story) -> None:
    cancelled_as_it_ended(story, fault=True, running=True)


@breaks("duplicated")
def done_twice_though_its_queue_lived_when_it_had_its_worker_ended(story: Story) -> None:
    cancelled_as_it_ended(story, fault=False, running=True)


@breaks("duplicated")
def done_twice_though_the_cancel_was_for_a_waiting_job(story: Story) -> None:
    cancelled_as_it_ended(story, fault=True, running=False)


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
    story.queue("d", shared=True)
    story.enqueue("a", queue="d")
    story.enqueue("b", queue="d")
    story.run("a", queue="d")
    story.run("b", ok=False, dies=True, queue="d")
    story.run("a", pid=2, queue="d")
    story.place("b", "abandoned", queue="d")


@keeps("duplicated")
def done_again_as_its_worker_was_killed_before_the_database_was_back(story: Story) -> None:
    story.queue("d", times=5)
    story.note("fault", id="away", kind="database", pids=(), queues=(), stores=("d",))
    story.enqueue("a", queue="d")
    story.run("a", pid=1, queue="d")
    story.wait(20)
    story.note("healed", id="away")
    story.fault("worker", pids=(1,))
    story.run("a", pid=3, queue="d")


@keeps("duplicated")
def done_again_as_its_worker_was_killed_before_the_queue_was_back(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", pid=1, queue="d")
    story.note("fault", id="away", kind="queue", pids=(7,), queues=("d",))
    story.wait(20)
    story.fault("worker", pids=(1,))
    story.note("healed", id="away")
    story.run("a", pid=3, queue="d")


@breaks("duplicated")
def done_twice_though_its_worker_was_killed_long_after_the_queue_was_back(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.run("a", pid=1, queue="d")
    story.fault("queue", queues=("d",))
    story.wait(10)
    story.fault("worker", pids=(1,))
    story.run("a", pid=3, queue="d")


@breaks("duplicated")
def done_twice_because_the_database_was_away(story: Story) -> None:
    story.queue("d", times=5)
    story.enqueue("a", queue="d")
    story.note("fault", id="away", kind="database", pids=(), queues=(), stores=("d",))
    story.run("a", pid=1, queue="d")
    story.note("healed", id="away")
    story.run("a", pid=3, queue="d")


# -- overlap ---------------------------------------------------------------------------------------


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


@breaks("overlap")
def not_alone_as_its_node_was_drained(story: Story) -> None:
    story.enqueue("a")
    story.begin("a", pid=1)
    story.fault("drain", pids=(1,), nodes=("n1",))
    story.run("a", pid=2, node="n2", alone=False)


@keeps("overlap")
def elsewhere_as_its_node_was_drained(story: Story) -> None:
    story.enqueue("a")
    story.begin("a", pid=1)
    story.fault("drain", pids=(1,), nodes=("n1",))
    story.run("a", pid=2, node="n2")


@keeps("overlap")
def one_after_the_other(story: Story) -> None:
    story.enqueue("a")
    story.begin("a", pid=1)
    story.fault("worker", pids=(1,))
    story.run("a", pid=2)


# -- suspend ---------------------------------------------------------------------------------------


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


# -- retry bound -----------------------------------------------------------------------------------


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


def out_of_time_before_it_began(story: Story, why: str, shared: bool = True) -> None:
    """One of two attempts was over before the job's own code was reached, as others held up the worker's event loop."""
    story.queue("r", times=1, shared=shared)
    story.enqueue("a", queue="r", waits=True)
    story.run("a", ok=False, queue="r")
    story.tell("a", "abandoned", why, queue="r")
    story.place("a", "abandoned", queue="r")


@keeps("retry bound")
def out_of_time_on_a_loop_that_was_held_up(story: Story) -> None:
    out_of_time_before_it_began(story, "timeout: the job ran longer than its timeout_s of 0.5 s, and was stopped")


@breaks("retry bound")
def given_up_too_early_for_another_reason(story: Story) -> None:
    out_of_time_before_it_began(story, "exit: the job ended its worker's process with exit status 3")


@breaks("retry bound")
def out_of_time_too_early_in_a_worker_of_one_job(story: Story) -> None:
    out_of_time_before_it_began(story, "timeout: the job ran longer than its timeout_s of 0.5 s", shared=False)


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


@keeps("retry bound")
def started_once_more_as_the_queue_died_before_it_had_found_what_the_worker_left(story: Story) -> None:
    story.enqueue("a")
    story.run("a", ok=False, dies=True, pid=1)
    story.wait(BURIAL_S)
    story.fault("queue", queues=("q",))
    story.run("a", pid=2)


@breaks("retry bound")
def started_once_more_though_the_queue_died_long_after(story: Story) -> None:
    story.enqueue("a")
    story.run("a", ok=False, dies=True, pid=1)
    story.wait(BURIAL_S + SETTLE_S)
    story.fault("queue", queues=("q",))
    story.run("a", pid=2)


def ended_its_worker(story: Story, gap_s: float, again: int = 1, shared: bool = True) -> None:
    """A job that ends its worker, which has answered for another one a while before, and then others, alone."""
    story.queue("r", shared=shared)
    story.enqueue("other", queue="r")
    story.enqueue("a", queue="r")
    story.run("other", queue="r", pid=0)
    story.wait(gap_s)
    for pid in range(1 + again):
        story.run("a", ok=False, dies=True, queue="r", pid=pid)
    story.place("other", "done", queue="r")
    story.place("a", "abandoned", queue="r")


@keeps("retry bound")
def started_once_more_as_the_other_answer_was_on_its_way(story: Story) -> None:
    ended_its_worker(story, gap_s=0.5)


@breaks("retry bound")
def started_once_more_though_the_other_answer_had_come_long_before(story: Story) -> None:
    ended_its_worker(story, gap_s=10)


@breaks("retry bound")
def started_twice_more_though_it_had_its_worker_to_itself_then(story: Story) -> None:
    ended_its_worker(story, gap_s=0.5, again=2)


def ended_workers_beside_others(story: Story, gap_s: float) -> None:
    """A job ends its worker and is tried again, each time in company: the second time after a while."""
    story.queue("r", shared=True, times=0)
    story.enqueue("a", queue="r")
    for pid in range(3):
        story.enqueue(f"other {pid}", queue="r")
        story.run(f"other {pid}", queue="r", pid=pid)
        story.now -= 0.5
        story.run("a", ok=False, dies=True, queue="r", pid=pid)
        story.wait(gap_s)
        story.place(f"other {pid}", "done", queue="r")
    story.place("a", "abandoned", queue="r")


@keeps("retry bound")
def started_once_more_each_time_it_had_waited_in_vain_for_a_worker_to_itself(story: Story) -> None:
    ended_workers_beside_others(story, gap_s=30)


@breaks("retry bound")
def started_once_more_each_time_though_it_had_not_waited(story: Story) -> None:
    ended_workers_beside_others(story, gap_s=5)


@breaks("retry bound")
def started_once_more_though_workers_have_one_job_at_a_time(story: Story) -> None:
    ended_its_worker(story, gap_s=0.5, shared=False)


def its_database_was_away(story: Story, queue: str) -> None:
    """A worker dies under a job, and its queue can write that down only seconds later."""
    story.note("fault", id="away", kind="database", pids=(), queues=(), stores=(queue,))
    story.enqueue("a")
    story.run("a", ok=False, dies=True, pid=1)
    story.wait(20)
    story.note("healed", id="away")
    story.fault("queue", queues=("q",))
    story.run("a", pid=2)


@keeps("retry bound")
def started_once_more_as_the_queue_died_before_its_database_was_back(story: Story) -> None:
    its_database_was_away(story, "q")


@breaks("retry bound")
def started_once_more_though_it_was_the_database_of_another_queue_that_was_away(story: Story) -> None:
    its_database_was_away(story, "r")


@breaks("retry bound")
def started_once_more_though_its_database_had_long_been_back(story: Story) -> None:
    story.note("fault", id="away", kind="database", pids=(), queues=(), stores=("q",))
    story.enqueue("a")
    story.run("a", ok=False, dies=True, pid=1)
    story.note("healed", id="away")
    story.wait(BURIAL_S + SETTLE_S)
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


# -- early, order ----------------------------------------------------------------------------------


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
