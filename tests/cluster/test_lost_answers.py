"""Calls between actors that Ray drops, and answers: nothing is lost by them, and nothing is taken for what it is not."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.scripts import run_script


def test_calls_and_answers_that_ray_drops_lose_and_double_no_job(tmp_path: Path) -> None:
    finished = run_script(Path(__file__).with_name("lost_answers.py"), tmp_path)
    assert finished.code == 0, str(finished)
    lines = finished.output.splitlines()
    assert "all done True runs within attempts True" in lines, str(finished)
    assert "calls are dropped True" in lines, str(finished)
