"""What only an inline queue has: the caller's hand on when things run and on time."""

from __future__ import annotations

import asyncio
import doctest
import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import honeydew_ray as honeydew
import honeydew_ray.testing.inline
from honeydew_ray import Event, JobState, QueueStatus
from honeydew_ray.testing import DeadlockError, Inline, InlineQueue, plugin
from tests.behaviour import Clerk

honeydew_inline = plugin.honeydew_inline  # as the tests of this repository run without the plugin

HOSTILE = "<script>\x1b[31m\x00\u202e"


@pytest.fixture
def inline() -> Iterator[Inline]:
    with Inline() as inline:
        yield inline


@pytest.fixture
def queue(inline: Inline) -> InlineQueue:
    queue = inline.start_queue("q", failure_mode=honeydew.ExponentialRetry(times=3))
    queue.start_workers(Clerk)
    return queue


class Boss:
    """Jobs that use the queues themselves."""

    def delegate(self, name: str) -> Any:
        return honeydew.get_queue(name).submit(math.sqrt, 16).result()

    def wait_for(self, job: honeydew.Job[str], queue: honeydew.Queue) -> list[str]:
        return [job.result(), queue.submit("greet", "Bob").result()]

    def run_a_loop(self) -> str:
        async def work() -> str:
            await asyncio.sleep(0)
            return "ran"

        return asyncio.run(work())


def test_nothing_runs_until_it_is_told_to(queue: InlineQueue) -> None:
    jobs = [queue.submit("next") for _ in range(3)]
    assert [job.done() for job in jobs] == [False] * 3
    assert [str(job.state) for job in jobs] == ["in_progress", "pending", "pending"]
    assert queue.step()
    assert [job.done() for job in jobs] == [True, False, False]
    assert queue.run() == 2
    assert not queue.step()
    assert [job.result() for job in jobs] == [1, 2, 3]


def test_time_passes_only_when_it_is_told_to_or_waited_for(inline: Inline, queue: InlineQueue) -> None:
    began = inline.now
    job = queue.options(delay_s=60).submit("next")
    assert queue.run() == 0
    queue.advance(59.9)
    assert job.state is JobState.DELAYED
    queue.advance(0.2)
    assert job.done()
    assert inline.now - began == pytest.approx(60.1, abs=0.01)
    queue.options(delay_s=3600).submit("next").result()
    assert inline.now - began == pytest.approx(3660.1, abs=0.01)
    with pytest.raises(TimeoutError, match=r"has not ended within 5 s: it is delayed, after 0 attempt\(s\)$"):
        queue.options(delay_s=3600).submit("next").result(timeout=5)
    assert inline.now - began == pytest.approx(3665.1, abs=0.01)


def test_retries_keep_their_pauses(inline: Inline, queue: InlineQueue) -> None:
    job = queue.submit("stumble", "raise")
    with pytest.raises(honeydew.JobAbandoned):
        job.result()
    starts = [event.at for event in queue.events(history=True, follow=False, kinds=["started"])]
    assert [round(later - earlier, 3) for earlier, later in pairwise(starts)] == [0, 1, 3]


def test_waiting_for_what_cannot_come_is_an_error_that_says_why(inline: Inline, queue: InlineQueue) -> None:
    queue.suspend()
    job = queue.submit("next")
    with pytest.raises(DeadlockError, match=r"would wait for ever.*queue 'q': suspended, 1 ready worker\(s\)"):
        job.result()
    queue.resume()
    assert job.result() == 1
    idle = inline.start_queue("idle")
    with pytest.raises(DeadlockError, match=r"queue 'idle': 0 ready worker\(s\)"):
        idle.submit(math.sqrt, 4).result()
    with pytest.raises(TimeoutError, match="has not 1 ready worker"):
        idle.wait_for_workers(1, timeout=5)


def test_a_job_may_use_queues_and_loops(honeydew_inline: Inline) -> None:
    for name in ("bosses", "helpers"):
        honeydew.start_queue(name).start_workers(*([Boss] if name == "bosses" else []))
    bosses = honeydew.get_queue("bosses")
    assert bosses.submit("delegate", "helpers").result() == 4
    assert bosses.submit("run_a_loop").result() == "ran"
    with pytest.raises(honeydew.JobAbandoned, match="DeadlockError"):
        bosses.submit("delegate", "bosses").result()  # its only worker waits for itself


def test_the_module_itself_is_stood_in_for(honeydew_inline: Inline) -> None:
    queue = honeydew.start_queue("q")
    assert isinstance(queue, InlineQueue)
    honeydew.start_workers("q", Clerk, num=2)
    assert (honeydew.queues(), honeydew.workers()) == (["q"], ["q"])
    honeydew.stop_workers("q")
    with pytest.raises(honeydew.WorkersNotFound):
        honeydew.stop_workers("q")
    with pytest.raises(honeydew.QueueNotFound, match=r"no queue 'nobody' here \(running: q\)"):
        honeydew.get_queue("nobody")


def test_workers_may_be_started_before_their_queue(inline: Inline) -> None:
    inline.start_workers("q", Clerk)
    queue = inline.start_queue("q")
    assert queue.submit("greet", "Ada").result() == "Hello, Ada!"


def test_the_process_of_the_test_survives_its_jobs(queue: InlineQueue) -> None:
    before = os.getpid(), os._exit, os.kill, os.abort
    for how in ("exit 0", "signal 15", "sys.exit"):
        with pytest.raises(honeydew.JobAbandoned):
            queue.submit("stumble", how).result()
    assert before == (os.getpid(), os._exit, os.kill, os.abort)
    os.kill(os.getpid(), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(2**22 + 1, signal.SIGTERM)


def test_handles_can_be_given_to_jobs_and_go_with_their_world(inline: Inline, queue: InlineQueue) -> None:
    waiting = queue.options(delay_s=60).submit("greet", "Ada")
    inline.start_queue("bosses").start_workers(Boss)
    assert inline.get_queue("bosses").submit("wait_for", waiting, queue).result() == ["Hello, Ada!", "Hello, Bob!"]
    handles = pickle.dumps(queue), pickle.dumps(waiting)
    inline.close()
    for handle in handles:
        with pytest.raises(honeydew.QueueNotFound, match="inline queue 'q' is gone"):
            pickle.loads(handle)


def test_subscribers_and_timelines(inline: Inline) -> None:
    class Listener(honeydew.Subscriber):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def opened(self, queue: str) -> None:
            self.heard.append(f"opened {queue}")

        def received(self, events: Sequence[Event], missed: int) -> None:
            self.heard += [str(event.kind) for event in events]

        def looked(self, status: QueueStatus) -> None:
            raise AssertionError("not asked for")

        def closed(self) -> None:
            self.heard.append("closed")

    listener = Listener()
    queue = inline.start_queue("q", subscribers=[listener])
    queue.start_workers(Clerk)
    stream = queue.events()
    queue.submit("greet", "Ada")
    assert [str(event.kind) for event in stream] == ["enqueued", "started", "succeeded"]
    assert [attempt.outcome for attempt in honeydew.timeline(queue).attempts] == ["succeeded"]
    queue.stop()
    assert listener.heard == ["opened q", "queue_started", "worker_started", "enqueued", "started", "succeeded", "worker_stopped", "closed"]


class Handler(honeydew.Subscriber):
    """Notes what it is told, and does what it is given to do about it."""

    def __init__(self, **deeds: Callable[[], object]) -> None:
        self.heard: list[str] = []
        self._deeds = deeds
        self._busy = False

    def opened(self, queue: str) -> None:
        self._hear("opened")

    def received(self, events: Sequence[Event], missed: int) -> None:
        assert missed == 0
        self._hear(*(str(event.kind) for event in events))

    def closed(self) -> None:
        self._hear("closed")

    def _hear(self, *kinds: str) -> None:
        assert not self._busy, "one call at a time"
        self.heard += kinds
        self._busy = True
        try:
            for deed in [self._deeds[kind] for kind in kinds if kind in self._deeds]:
                deed()
        finally:
            self._busy = False


def test_a_subscriber_that_uses_the_queue_hears_all_in_order_and_once(inline: Inline) -> None:
    more = iter([math.sqrt])
    deeds: dict[str, Callable[[], object]] = {
        "opened": lambda: inline.get_queue("q").options(job_id="first").submit(math.sqrt, 4),
        "succeeded": lambda: [inline.get_queue("q").submit(function, 9).result() for function in more],
    }
    handler, other = Handler(**deeds), Handler()
    queue = inline.start_queue("q", subscribers=[handler, other])
    queue.start_workers()
    assert queue.job("first").result() == 2
    job = ["enqueued", "started", "succeeded"]
    assert handler.heard == ["opened", "queue_started", "enqueued", "worker_started", "started", "succeeded", *job]
    assert other.heard == handler.heard


def test_a_subscriber_may_stop_the_queue_and_start_another_of_its_name(inline: Inline) -> None:
    again = Handler()
    handler = Handler(enqueued=lambda: queue.stop(), closed=lambda: inline.start_queue("q", subscribers=[again]))
    queue = inline.start_queue("q", subscribers=[handler])
    later = Handler()
    inline.start_queue("later", subscribers=[later])
    queue.start_workers()
    job = queue.submit(math.sqrt, 4)
    assert handler.heard == ["opened", "queue_started", "worker_started", "enqueued", "started", "succeeded", "worker_stopped", "closed"]
    assert job.result() == 2
    assert inline.queues() == ["later", "q"]
    inline.get_queue("later").suspend()
    assert (again.heard, later.heard) == (["opened", "queue_started"], ["opened", "queue_started", "suspended"])


def test_whoever_stops_a_queue_that_a_subscriber_stops_meanwhile_is_told(inline: Inline) -> None:
    handler = Handler(worker_stopped=lambda: inline.get_queue("q").stop())
    queue = inline.start_queue("q", subscribers=[handler])
    for group in ("one", "two"):
        inline.start_workers("q", group=group)
    with pytest.raises(honeydew.QueueNotFound):
        queue.stop()
    assert handler.heard[-3:] == ["worker_stopped", "worker_stopped", "closed"]
    assert (inline.queues(), inline.workers()) == ([], [])


@pytest.mark.parametrize("fault", [RuntimeError("no"), SystemExit(1)])
@pytest.mark.parametrize("call", ["opened", "received", "closed"])
def test_what_a_subscriber_raises_is_logged(inline: Inline, caplog: pytest.LogCaptureFixture, call: str, fault: BaseException) -> None:
    def trip() -> None:
        raise fault

    handler, other = Handler(**{"enqueued" if call == "received" else call: trip}), Handler()
    queue = inline.start_queue("q", subscribers=[handler, other])
    queue.start_workers()
    assert queue.submit(math.sqrt, 4).result() == 2
    queue.stop()
    assert [record.getMessage() for record in caplog.records] == [f"subscriber tests.unit.test_inline.Handler raised in {call}"]
    assert handler.heard == ["opened", "queue_started", "worker_started", "enqueued", "started", "succeeded", "worker_stopped", "closed"]
    assert other.heard == handler.heard
    assert inline.queues() == []


def test_a_subscriber_can_fail_the_test_and_be_interrupted(inline: Inline) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    handler = Handler(suspended=lambda: pytest.fail("suspended"), closed=interrupt)
    queue = inline.start_queue("q", subscribers=[handler])
    with pytest.raises(pytest.fail.Exception, match="suspended"):
        queue.suspend()
    with pytest.raises(KeyboardInterrupt):
        queue.stop()
    assert handler.heard == ["opened", "queue_started", "suspended", "closed"]
    assert inline.queues() == []


def test_bad_arguments_are_refused_as_on_ray(inline: Inline, queue: InlineQueue) -> None:
    with pytest.raises(ValueError, match="name was '<b>'"):
        inline.start_queue("<b>")
    with pytest.raises(ValueError, match="expected a store in memory"):
        inline.start_queue("durable", store=honeydew.SQLiteStore("jobs.db"))
    with pytest.raises(TypeError, match=r"the arguments do not fit Clerk"):
        inline.start_workers("other", Clerk, 1, 2, 3)
    with pytest.raises(ValueError, match="rebuild was 'sometimes'"):
        inline.start_workers("other", Clerk, rebuild="sometimes")
    with pytest.raises(ValueError, match="seconds was -1"):
        queue.advance(-1)


@pytest.mark.parametrize(("options", "error", "text"), [
    ({"failure_mod": honeydew.Retry(times=1)}, TypeError, "failure_mod"),
    ({"dispatcher": honeydew.LRU}, TypeError, "an instance of Dispatcher, not the class"),
    ({"store": "jobs.db"}, TypeError, "expected an instance of Store"),
    ({"subscribers": [print]}, TypeError, "expected an instance of Subscriber"),
    ({"suspended": "no"}, TypeError, "suspended was 'no'"),
    ({"node_loss": "forgive"}, ValueError, 'expected "redeliver" or "fail"'),
    ({"ray_options": {"max_restarts": 0}}, ValueError, "which Honeydew sets itself"),
])
def test_bad_arguments_of_a_queue_are_refused_as_on_ray(inline: Inline, options: dict[str, Any], error: type[Exception], text: str) -> None:
    for start_queue in (inline.start_queue, honeydew.start_queue):  # the latter without Ray: it must not come to connecting
        with pytest.raises(error, match=text):
            start_queue("other", **options)


@pytest.mark.parametrize("option", ["init_retry_s", "init_timeout_s", "shutdown_s", "probe_timeout_s", "idle_timeout_s"])
def test_bad_times_of_workers_are_refused_before_anything_is_started(inline: Inline, option: str) -> None:
    for start_workers in (inline.start_workers, honeydew.start_workers):
        with pytest.raises(ValueError, match=f"start_workers: {option} was -1"):
            start_workers("q", **{option: -1})


class Counted(honeydew.MemoryStore):
    """A store that tells how many jobs it holds, none at first: so it is false."""

    def __len__(self) -> int:
        return 0


class Choosy(honeydew.LRU):
    def __len__(self) -> int:
        return 0

    def check_out(self, job: honeydew.JobRecord) -> honeydew.WorkerRef | None:
        return None


def test_plug_ins_that_have_a_length_are_not_replaced_by_the_default(inline: Inline) -> None:
    queue = inline.start_queue("other", store=Counted(), dispatcher=Choosy())
    queue.start_workers(Clerk)
    queue.submit("greet", "you")
    assert queue.status().store == "Counted"
    assert queue.run() == 0


def test_texts_full_of_markup_and_control_characters(queue: InlineQueue) -> None:
    assert queue.submit("greet", HOSTILE).result() == f"Hello, {HOSTILE}!"
    job = queue.options(job_id=HOSTILE).submit("greet", HOSTILE)
    job.result()
    assert all(str(event).isprintable() for event in queue.events(history=True, follow=False))


def test_a_hundred_thousand_jobs_are_held_and_looked_through(queue: InlineQueue) -> None:
    queue.suspend()
    queue.options(reply=False).submit_many("next", range(100_000))
    assert queue.status().pending == 100_000
    assert len(queue.filter(state="pending")) == 100_000
    assert len(list(queue.events(history=True, follow=False))) == 10_000
    queue.resume()
    assert queue.step()


def test_the_plugin_is_found_and_its_fixtures_work(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(textwrap.dedent("""
        import math
        import honeydew_ray
        from honeydew_ray import get_queue

        def test_inline(inline_queue):
            inline_queue.start_workers()
            assert inline_queue.submit(math.sqrt, 4).result() == 2
            assert get_queue("inline").name == honeydew_ray.get_queue("inline").name

        def test_alone():
            assert honeydew_ray.get_queue.__module__ == "honeydew_ray.queue"
    """))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "2 passed" in run.stdout, run.stdout + run.stderr


def test_what_the_docstrings_show_is_true() -> None:
    assert tuple(doctest.testmod(honeydew_ray.testing.inline)[:2]) == (0, 2)
