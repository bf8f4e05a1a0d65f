"""The recorder keeps what a process wrote, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from tests.hammer.recorder import Recorder, read_events


def _write_for_ever(folder: Path, ready: int) -> None:
    recorder = Recorder(folder, "victim")
    number = 0
    while True:
        recorder.note("tick", number=number)
        os.write(ready, b".")
        number += 1


def test_a_kill_loses_nothing_that_was_written(tmp_path: Path) -> None:
    heard, ready = os.pipe()
    victim = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(tmp_path, ready))
    victim.start()
    os.close(ready)
    told = 0
    while told < 500:
        told += len(os.read(heard, 500))
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    while more := os.read(heard, 10_000):
        told += len(more)
    os.close(heard)
    numbers = [event.facts["number"] for event in read_events(tmp_path)]
    assert numbers == list(range(len(numbers)))
    assert told <= len(numbers) <= told + 1  # it may have been killed between writing and telling


def test_events_of_all_processes_are_in_the_order_of_time(tmp_path: Path) -> None:
    one, two = Recorder(tmp_path, "one"), Recorder(tmp_path, "two")
    times = [one.note("first"), two.note("second"), one.note("third", uid="a")]
    one.close()
    two.close()
    events = read_events(tmp_path)
    assert [(event.what, event.at) for event in events] == list(zip(["first", "second", "third"], times, strict=True))
    assert events[2].facts == {"uid": "a"}


def test_a_torn_last_line_is_left_out_and_any_other_is_an_error(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "torn")
    recorder.note("whole")
    recorder.close()
    with recorder.path.open("ab") as file:
        file.write(b'[1.0,"ha')
    assert [event.what for event in read_events(tmp_path)] == ["whole"]
    with recorder.path.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ValueError, match="line 2"):
        read_events(tmp_path)
