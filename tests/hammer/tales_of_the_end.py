"""Histories that break the rules of the end, and the nearest ones that do not."""

from __future__ import annotations

from tests.hammer.story import Story, breaks, keeps

# -- result ----------------------------------------------------------------------------------------


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


@breaks("result")
def told_that_a_small_result_is_gone(story: Story) -> None:
    story.done("a", waits=True)
    story.fault("queue", queues=("q",))
    story.tell("a", "gone")


@keeps("result")
def told_that_a_large_result_is_gone_with_its_queue(story: Story) -> None:
    story.done("a", waits=True, large=True)
    story.fault("queue", queues=("q",))
    story.tell("a", "gone")


# -- leak ------------------------------------------------------------------------------------------


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


# -- liveness --------------------------------------------------------------------------------------


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
def stood_still(story: Story) -> None:
    story.fault("worker", pids=(9,))
    story.end(still_s=70.0)


@keeps("liveness")
def took_long_and_never_stood_still(story: Story) -> None:
    story.fault("worker", pids=(9,))
    story.wait(300)
    story.end(still_s=50.0)


@breaks("liveness")
def a_driver_that_ended_with_an_error(story: Story) -> None:
    story.note("broken", who="driver d1", error="KeyError")


@keeps("liveness")
def a_waiter_that_was_killed(story: Story) -> None:
    story.done("a", waits=True)
    story.fault("driver", pids=(7,), drivers=("d1",))


# -- exercised -------------------------------------------------------------------------------------


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
