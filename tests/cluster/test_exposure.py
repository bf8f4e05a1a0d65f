"""A cluster that lets strangers in: said, and with ``strict_security`` refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster
from tests.cluster.scripts import run_script

IN_AN_OPEN_CLUSTER = """
import os
os.environ["RAY_AUTH_MODE"] = "disabled"
import honeydew_ray as honeydew
try:
    honeydew.start_queue("strict", strict_security=True)
except honeydew.InsecureCluster as error:
    print("refused:", error)
honeydew.start_queue("open").stop()
print(honeydew.queues())
"""


@pytest.mark.parametrize(("address", "asks_for_token", "open_"), [
    ("10.0.0.5:6379", False, True), ("[2001:db8::5]:6379", False, True), ("head.example:6379", False, True),
    ("10.0.0.5:6379", True, False), ("127.0.0.1:6379", False, False), ("[::1]:6379", False, False), ("localhost:6379", False, False),
])  # fmt: skip
def test_a_cluster_is_open_if_it_asks_for_no_token_and_is_reached_from_other_machines(
    monkeypatch: pytest.MonkeyPatch, address: str, asks_for_token: bool, open_: bool
) -> None:
    monkeypatch.setattr(cluster, "address", lambda: address)
    monkeypatch.setattr(cluster, "is_token_auth_enabled", lambda: asks_for_token)
    said = cluster.exposure()
    assert (said is not None) == open_
    if said is not None:
        assert f"the Ray cluster at {address} asks for no token" in said
        assert "RAY_AUTH_MODE=token" in said


def test_an_open_cluster_is_warned_of_and_refused_by_a_strict_queue(tmp_path: Path) -> None:
    script = tmp_path / "open.py"
    script.write_text(IN_AN_OPEN_CLUSTER)
    finished = run_script(script)
    assert finished.code == 0, str(finished)
    refused, queues = [line for line in finished.output.splitlines() if line.startswith(("refused", "["))]
    assert refused.startswith("refused: queue 'strict' is not started: the Ray cluster at ")
    assert queues == "[]"
    assert "asks for no token: whoever reaches that address" in finished.output.replace(refused, "") + finished.errors


def test_a_cluster_that_asks_for_a_token_is_neither(new_queue: Callable[..., honeydew.Queue], capfd: pytest.CaptureFixture[str]) -> None:
    new_queue(strict_security=True)
    assert "asks for no token" not in "".join(capfd.readouterr())


def test_only_true_and_false_are_taken() -> None:
    with pytest.raises(ValueError, match=r"strict_security was 'no', expected True or False; for example strict_security=True"):
        honeydew.start_queue("photos", strict_security="no")  # type: ignore[arg-type]
