"""Histories that break the rules of custody, and the nearest ones that do not."""

from __future__ import annotations

from tests.hammer.story import Story, breaks, keeps

# -- lost ------------------------------------------------------------------------------------------


@breaks("lost")
def acknowledged_and_gone(story: Story) -> None:
    story.enqueue("a")


@breaks("lost")
def acknowledged_and_only_failed(story: Story) -> None:
    story.enqueue("a")
    story.run("a", ok=False)


@breaks("lost")
def gone_with_a_crash_of_its_database(story: Story) -> None:
    story.enqueue("a")
    story.fault("database", stores=("q",))


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


# -- unexpected, phantom ---------------------------------------------------------------------------


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


# -- disposition -----------------------------------------------------------------------------------


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


# -- cancel ----------------------------------------------------------------------------------------


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
