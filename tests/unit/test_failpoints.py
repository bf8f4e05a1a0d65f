"""Failpoints: what they understand, when they act."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from honeydew_ray import failpoints
from honeydew_ray.failpoints import FailpointHit, Failpoints


def test_nothing_is_asked_for_unless_it_is() -> None:
    failpoints.hit("enq.pre_commit")
    assert not Failpoints("")
    Failpoints("").hit("ack.pre_commit")


def test_an_action_is_taken_at_each_hit_or_at_one() -> None:
    points = Failpoints("enq.pre_commit=raise, ack.pre_commit=raise@2; nack.pre=sleep:0")
    assert points
    for _ in range(2):
        with pytest.raises(FailpointHit, match=r"enq\.pre_commit"):
            points.hit("enq.pre_commit")
    points.hit("ack.pre_commit")
    with pytest.raises(FailpointHit, match="hit 2"):
        points.hit("ack.pre_commit")
    points.hit("ack.pre_commit")
    points.hit("nack.pre")
    points.hit("move.between")


MISUNDERSTOOD = ["enq.pre_commit", "enq.sometime=kill", "ack.pre_commit=explode", "ack.pre_commit=kill@0", "ack.pre_commit=sleep"]


@pytest.mark.parametrize("text", MISUNDERSTOOD)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="for example"):
        Failpoints(text)


@pytest.mark.parametrize(("action", "status"), [("kill", -signal.SIGKILL), ("sleep:0", 0)])
def test_they_are_read_from_the_environment_at_import(action: str, status: int) -> None:
    program = [sys.executable, "-c", "from honeydew_ray import failpoints; failpoints.hit('ack.pre_commit')"]
    environment = os.environ | {failpoints.VARIABLE: f"ack.pre_commit={action}"}
    assert subprocess.run(program, env=environment, check=False).returncode == status


def test_once_means_once_for_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.ONCE_VARIABLE, str(tmp_path / "once"))
    with pytest.raises(FailpointHit):
        Failpoints("ack.pre_commit=raise").hit("ack.pre_commit")
    Failpoints("ack.pre_commit=raise").hit("ack.pre_commit")
