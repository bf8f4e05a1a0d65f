"""Histories that break the retry bound, and the nearest ones that do not."""

from __future__ import annotations

from tests.hammer.history import BURIAL_S, SETTLE_S
from tests.hammer.story import Story, breaks, keeps


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
