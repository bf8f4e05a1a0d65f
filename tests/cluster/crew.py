"""The worker classes of the cluster tests."""

from __future__ import annotations

import ctypes
import os
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import honeydew_ray as honeydew
from tests.cluster.signals import Signal


def die(how: str) -> None:
    """End, or try to end, this process in one of many ways."""
    match how.split():
        case ["raise"]:
            raise ValueError("raised on purpose")
        case ["interrupt"]:
            raise KeyboardInterrupt
        case ["sys.exit", status]:
            sys.exit(int(status))
        case ["exit", status]:
            os._exit(int(status))
        case ["signal", number]:
            os.kill(os.getpid(), int(number))
            threading.Event().wait()  # until it arrives
        case ["segfault"]:
            ctypes.string_at(0)
        case ["abort"]:
            os.abort()
        case _:
            raise AssertionError(how)


class Crew:
    """Does as it is told, and counts how often."""

    def __init__(self, base: int = 0) -> None:
        self.base = base
        self.calls = 0

    def add(self, value: int) -> int:
        self.calls += 1
        return self.base + value

    def count(self) -> int:
        self.calls += 1
        return self.calls

    def pid(self) -> int:
        return os.getpid()

    def die(self, how: str) -> None:
        die(how)

    def die_once(self, how: str, mark: str) -> int:
        """Die on the first attempt; the process id on the next."""
        path = Path(mark)
        if not path.exists():
            path.write_text(str(os.getpid()))
            die(how)
        return os.getpid()

    def die_unless(self, mark: str) -> str:
        if not Path(mark).exists():
            die("raise")
        return "alive"

    def wait_for(self, gate: str) -> None:
        while not Path(gate).exists():
            time.sleep(0.02)

    def log_and_die(self, how: str, journal: str) -> None:
        with Path(journal).open("a") as file:
            file.write("started\n")
        die(how)

    def log(self, journal: str, line: object) -> None:
        with Path(journal).open("a") as file:
            file.write(f"{line}\n")

    def hold(self, started: Signal, finish: Signal, *_: Any) -> str:
        """Say that the job has started, and go on when told."""
        started.send(os.getpid())
        return finish.wait()

    def publish(self, values: list[Any], started: Signal, finish: Signal) -> None:
        for value in values:
            honeydew.progress(value)
        started.send()
        finish.wait()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def block(self) -> None:
        """Hold the interpreter's lock for ever."""
        ctypes.PyDLL(None).pause()

    def give(self, value: Any) -> Any:
        return value


class Unpicklable(Exception):
    """An exception that no pickler can take."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class Unbuildable(Exception):
    """An exception that pickles, and cannot be built again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Mute(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Spoiler(Crew):
    """Returns and raises what cannot travel."""

    def lock(self) -> Any:
        return threading.Lock()

    def raise_unpicklable(self) -> None:
        raise Unpicklable("it holds a lock")

    def raise_unbuildable(self) -> None:
        raise Unbuildable("one", "two")

    def raise_mute(self) -> None:
        raise Mute


def count(path: str) -> int:
    """Count in a file, whose length is the number: the first who comes is told 1, and no two the same."""
    with open(path, "ab", buffering=0) as file:
        file.write(b".")
        return file.tell()


class Database:
    """State that belongs to the thread it was made in."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")

    def query(self) -> int:
        return int(self.connection.execute("select 41 + 1").fetchone()[0])


class FailsToStart:
    """The first so many that are made fail, counted in a file; the others work."""

    def __init__(self, counter: str, failures: int, how: str = "raise") -> None:
        if count(counter) <= failures:
            die(how)

    def ready(self) -> str:
        return "ready"


class AsksToWait(FailsToStart):
    """Says itself when to try again."""

    @classmethod
    def init_failed(cls, error: BaseException) -> float:
        assert isinstance(error, ValueError)
        return 0.05


class HangsAtFirst:
    """Its first ``__init__`` never returns."""

    def __init__(self, mark: str) -> None:
        path = Path(mark)
        if not path.exists():
            path.touch()
            threading.Event().wait()

    def ready(self) -> str:
        return "ready"


def double(value: int) -> int:
    return 2 * value


def base_of_worker() -> int:
    return int(honeydew.current_worker().base)


class WaitsToRebuild(Crew):
    """Made at once the first time; the second time it says so and waits."""

    def __init__(self, mark: str, entered: Signal, go_on: Signal) -> None:
        super().__init__()
        if count(mark) == 2:
            entered.send()
            go_on.wait()


def compute_without_a_break(seconds: float) -> float:
    """Hold the interpreter for about so long: a builtin that loops in C lets no other thread run. How long it was."""
    probe = 5_000_000
    began = time.perf_counter()
    sum(range(probe))
    pace = probe / (time.perf_counter() - began)
    began = time.perf_counter()
    sum(range(int(pace * seconds)))
    return time.perf_counter() - began
