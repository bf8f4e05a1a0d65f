"""Histories that break the rules of runs, and the nearest ones that do not."""

from __future__ import annotations

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
