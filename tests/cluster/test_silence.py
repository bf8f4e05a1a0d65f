"""Workers that do not answer: out of sight is not dead, and whoever is given up is dead before the job starts again."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError

import honeydew_ray as honeydew
from honeydew_ray.actors import names, ray_transport, worker_group
from honeydew_ray.actors.ray_transport import RayTransport
from honeydew_ray.actors.wire import pack
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.job import Token
from honeydew_ray.payload import Payload, dumps_call, dumps_whole
from honeydew_ray.transport import Attempt, Died, Lost, NotStarted, Report, Returned
from tests.cluster.crew import Crew, compute_without_a_break
from tests.cluster.machines import until
from tests.cluster.processes import runs
from tests.cluster.signals import Signal

Start = Callable[..., honeydew.Queue]


def test_a_stopped_worker_is_killed_and_replaced_and_its_job_redelivered(new_queue: Start, new_signal: Callable[[], Signal]) -> None:
    queue = new_queue()  # Abandon: what counts as a failure would end the job
    queue.start_workers(Crew, num=1, probe_timeout_s=2)
    started, finish = new_signal(), new_signal()
    job = queue.submit("hold", started, finish)
    stopped = int(started.wait())
    os.kill(stopped, signal.SIGSTOP)
    second = int(started.wait())
    assert second != stopped
    assert not runs(stopped), "it could go on, and run the job beside its successor"
    finish.send("second time")
    assert job.result(timeout=30) == "second time"
    assert job.attempts == 2
    assert job.last_error is not None and job.last_error.kind == "unresponsive"
    assert queue.status().abandoned == 0


def test_an_idle_worker_that_was_stopped_is_replaced(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1, probe_timeout_s=2)
    stopped = queue.submit("pid").result(timeout=30)
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: queue.status().workers[0].pid not in (stopped, None))
    assert queue.submit("pid").result(timeout=30) != stopped
    assert not runs(stopped)


def test_a_job_that_holds_the_interpreter_is_left_alone(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(num=1, probe_timeout_s=0.5)
    job = queue.submit(compute_without_a_break, 5.0)  # measured beforehand, so more or less
    assert job.result(timeout=60) > 1.5, "three times as long as a silence may be"
    assert job.attempts == 1


TOKEN = Token("job", 1, "queue")
ATTEMPT = Attempt(TOKEN, "add", False, Payload(dumps_call(None, (1,), {}, "arguments")[0]))
ANSWER = pack((dumps_whole(2, "result"), ()))
RAN = Returned(Payload(dumps_whole(2, "result")))
NEVER = pack(())
AWAY = ActorUnavailableError("the connection broke", None)


class Worker:
    """A worker's handle, whose every call is answered by the next of its script: a value, or an error."""

    def __init__(self, **scripts: list[Any]) -> None:
        self._scripts = {"run": [AWAY], **scripts}
        self._actor_id = "none"

    def __getattr__(self, method: str) -> Any:
        script = self._scripts.get(method, [])

        class Call:
            @staticmethod
            async def remote(*_: Any) -> Any:
                if not script:
                    await asyncio.sleep(3600)
                answer = script.pop(0) if len(script) > 1 else script[0]
                if isinstance(answer, Exception):
                    raise answer
                return answer

        return Call


def issue(worker: Worker, jobs: int = 1) -> list[Report]:
    async def run() -> list[Report]:
        transport = RayTransport()
        transport.know({"w": worker})
        return await transport.run(WorkerRef("w", ray.get_runtime_context().get_node_id()), [ATTEMPT] * jobs)

    return asyncio.run(run())


DEAD = ActorDiedError()


@pytest.mark.parametrize(("scripts", "expected"), [
    ({"take_back": [[ANSWER]]}, [RAN]),
    ({"take_back": [AWAY, AWAY, [None]], "answer_of": [None, ANSWER]}, [RAN]),
    ({"take_back": [[None], [ANSWER]], "answer_of": [None, AWAY]}, [RAN]),
    ({"take_back": [[NEVER]]}, [NotStarted(worker_alive=True)]),
    ({"take_back": [[ANSWER, None, NEVER]], "answer_of": [ANSWER]}, [RAN, RAN, NotStarted(worker_alive=True)]),
], ids=["it has the answer", "it runs it", "it is away once more meanwhile", "the job never came", "a lease of three"])  # fmt: skip
def test_an_answer_that_was_lost_is_asked_for_again(ray_cluster: None, scripts: dict[str, list[Any]], expected: list[Report]) -> None:
    assert issue(Worker(**scripts), len(expected)) == expected


def test_a_worker_that_died_out_of_sight_died(ray_cluster: None) -> None:
    assert [type(report) for report in issue(Worker(take_back=[AWAY, DEAD]))] == [Died]


def test_a_worker_that_stays_out_of_sight_is_killed_before_its_job_is_given_back(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_transport, "_SILENCE_S", 0.3)
    killed: list[Any] = []
    monkeypatch.setattr(ray_transport.ray, "kill", lambda handle, **_: killed.append(handle))
    worker = Worker(who_am_i=[AWAY, AWAY, DEAD])
    [report] = issue(worker)
    assert isinstance(report, Lost) and report.failure.kind == "unresponsive"
    assert killed == [worker] * 3, "until Ray says that it is dead"


@pytest.mark.parametrize("why", ["it was to end", "it did not say what it holds"])
def test_a_worker_that_a_queue_has_ended_is_dead_by_then(new_queue: Start, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    monkeypatch.setattr(ray_transport, "_SILENCE_S", 0.3)
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    queue.wait_for_workers(1)
    [worker] = queue.status().workers
    assert worker.pid is not None and worker.node is not None
    os.kill(worker.pid, signal.SIGSTOP)

    async def end() -> None:
        transport = RayTransport()
        if why == "it was to end":
            transport.know({worker.id: ray.get_actor(names.worker_actor(worker.id), namespace=names.NAMESPACE)})
            await transport.end(WorkerRef(worker.id, worker.node or ""))
        else:
            assert await transport.survivors(queue.name) == []

    asyncio.run(end())
    assert not runs(worker.pid)


def test_a_group_that_ray_counts_as_restarting_begins_all_the_same() -> None:
    """Ray fails the calls of a restarted actor to itself for a while; a group whose first call was lost would do nothing for ever."""
    answers: list[Any] = [AWAY, AWAY, None]

    class Call:
        @staticmethod
        def future() -> concurrent.futures.Future[None]:
            answered: concurrent.futures.Future[None] = concurrent.futures.Future()
            answer = answers.pop(0)
            answered.set_result(None) if answer is None else answered.set_exception(answer)
            return answered

    class Group:
        class start:
            @staticmethod
            def remote() -> Call:
                return Call()

    worker_group._start_surely(Group)
    assert answers == []
