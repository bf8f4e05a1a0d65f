"""Ray's control store restarts: what runs goes on, and what dies afterwards is replaced."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.scripts import run_script


def test_a_control_store_that_is_kept_on_disk_may_be_killed(tmp_path: Path) -> None:
    finished = run_script("-m", "tests.cluster.control_store", tmp_path)
    assert finished.code == 0, str(finished)
    assert finished.output.splitlines() == [
        "while it was away: True",
        "over its death: held 1",
        "when it was back: 1 ['kept'] ['kept']",
        "a new queue, and new workers: 2 True",
        "left: []",
    ], str(finished)
