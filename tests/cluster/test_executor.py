"""A queue as an executor of ``concurrent.futures``; the standard library's own suite is run on it where it is installed."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import os
import sys
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

import honeydew_ray as honeydew
from tests.cluster.crew import Crew
from tests.cluster.signals import Signal

Start = Callable[..., honeydew.Queue]
NewSignal = Callable[[], Signal]


@pytest.fixture
def queue(new_queue: Start) -> honeydew.Queue:
    queue = new_queue()
    queue.start_workers(num=2, prefetch="auto")
    queue.wait_for_workers(2)
    return queue


@pytest.fixture
def pool(queue: honeydew.Queue) -> honeydew.QueueExecutor:
    return honeydew.executor(queue)


def hold(started: Signal, finish: Signal) -> str:
    started.send()
    return finish.wait()


def leave(status: int) -> None:
    os._exit(status)


def test_calls_run_and_map_keeps_order(pool: honeydew.QueueExecutor) -> None:
    with pool:
        assert pool.submit(pow, 2, 8).result(timeout=60) == 256
        assert pool.submit(int, "ff", base=16).result(timeout=60) == 255
        assert list(pool.map(pow, range(1000), [2] * 1000)) == [number**2 for number in range(1000)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(pow, 2, 8)


def test_the_queue_outlives_the_executor(queue: honeydew.Queue, pool: honeydew.QueueExecutor) -> None:
    pool.shutdown()
    assert queue.submit(pow, 2, 3).result(timeout=60) == 8


def test_an_exception_is_the_one_that_the_call_raised(pool: honeydew.QueueExecutor) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result(timeout=60)
    with pytest.raises(honeydew.JobAbandoned) as died:
        pool.submit(leave, 3).result(timeout=60)
    assert died.value.exit_code == 3
    with pytest.raises(honeydew.PayloadError):
        pool.submit(len, (thread for thread in "generators do not pickle")).result(timeout=60)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        pool.submit("no function")  # type: ignore[arg-type]


def test_cancel_tells_what_will_not_run(queue: honeydew.Queue, pool: honeydew.QueueExecutor, new_signal: NewSignal) -> None:
    started, finish, finish_too = new_signal(), new_signal(), new_signal()
    running = pool.submit(hold, started, finish)
    running_too = pool.submit(hold, started, finish_too)
    started.wait()
    started.wait()
    waiting = [pool.submit(pow, 2, number) for number in range(5)]
    assert not running.cancel()
    assert running.running()
    assert waiting[2].cancel()
    assert waiting[2].cancel(), "again is the same"
    done, _ = concurrent.futures.wait([waiting[2], running], timeout=60, return_when=concurrent.futures.FIRST_COMPLETED)
    assert done == {waiting[2]}
    finish.send("first")
    finish_too.send("second")
    assert (running.result(timeout=60), running_too.result(timeout=60)) == ("first", "second")
    assert [future.result(timeout=60) for future in waiting if not future.cancelled()] == [1, 2, 8, 16]
    with pytest.raises(concurrent.futures.CancelledError):
        waiting[2].result()


def test_a_callback_comes_though_nobody_keeps_the_future(pool: honeydew.QueueExecutor) -> None:
    results: list[int] = []
    for number in range(20):
        pool.submit(pow, number, 2).add_done_callback(lambda future: results.append(future.result()))
    pool.shutdown()
    assert sorted(results) == [number**2 for number in range(20)]


def test_methods_run_on_the_state_of_the_workers_with_the_options_given(new_queue: Start) -> None:
    crew = new_queue()
    crew.start_workers(Crew, 10, num=1)
    pool = honeydew.executor(crew.options(timeout_s=2))
    assert pool.submit(Crew.add, 5).result(timeout=60) == 15  # type: ignore[call-arg, arg-type]
    with pytest.raises(honeydew.JobAbandoned) as late:
        pool.submit(time.sleep, 60).result(timeout=60)
    assert late.value.kind == "timeout"


def test_futures_of_a_queue_that_is_gone_fail(queue: honeydew.Queue, pool: honeydew.QueueExecutor) -> None:
    queue.stop()
    with pytest.raises(honeydew.QueueNotFound):
        pool.submit(pow, 2, 2).result(timeout=60)


# -- the standard library's own tests ----------------------------------------------------------------

NOT_APPLICABLE = {
    "test_max_workers_negative": "the number of workers is the queue's affair",
    "test_interpreter_shutdown": "jobs of a queue outlive the program, so it does not wait for them",
    "test_submit_after_interpreter_shutdown": "names its executor class in a program of its own",
    "test_hang_gh83386": "names its executor class in a program of its own",
}
SUITES = ["ExecutorTest", "ExecutorShutdownTest", "WaitTests", "AsCompletedTests"]


def standard_suite() -> ModuleType | None:
    """The module with the standard library's tests of executors: Debian has it in the package libpython3.11-testsuite."""
    if importlib.util.find_spec("test.test_concurrent_futures") is not None:
        return importlib.import_module("test.test_concurrent_futures")
    path = Path(f"/usr/lib/python{sys.version_info.major}.{sys.version_info.minor}/test/test_concurrent_futures.py")
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("test.test_concurrent_futures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    cloudpickle.register_pickle_by_value(module)  # workers have no such module
    return module


@pytest.mark.parametrize("suite", SUITES)
def test_the_standard_librarys_own_suite(queue: honeydew.Queue, suite: str) -> None:
    module = standard_suite()
    if module is None or not hasattr(module, suite):
        pytest.skip("the standard library's tests are not installed")

    class OnQueue(module.ExecutorMixin, getattr(module, suite), module.BaseTestCase):  # type: ignore[name-defined, misc]
        @staticmethod
        def executor_type(max_workers: int) -> honeydew.QueueExecutor:
            return honeydew.executor(queue)

    names = [name for name in unittest.defaultTestLoader.getTestCaseNames(OnQueue) if name not in NOT_APPLICABLE]
    result = unittest.TestResult()
    for name in names:
        OnQueue(name).run(result)
    problems: list[Any] = [*result.errors, *result.failures]
    assert result.testsRun >= 3
    assert not problems, problems[0][1]
