"""A node that the network cuts off: for a moment, which changes nothing; for longer, and then what it does counts for nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cluster.scripts import run_script

pytestmark = pytest.mark.demanding


def why_not() -> str:
    """Why this machine cannot make networks; empty if it can."""
    if shutil.which("ip") is None:
        return "there is no command ip here"
    tried = subprocess.run(
        ["unshare", "-n", "sh", "-c", "ip link add hdprobe type veth peer name hdprobe2"], capture_output=True, text=True, check=False)
    named = subprocess.run(["ip", "netns", "add", "hdprobe"], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", "hdprobe"], capture_output=True, check=False)
    failed = [step.stderr.strip() for step in (tried, named) if step.returncode != 0]
    return f"network namespaces cannot be made here: {failed[0]}" if failed else ""


@pytest.mark.timeout(200)
def test_a_node_that_is_cut_off(tmp_path: Path) -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    finished = run_script("-m", "tests.cluster.nodes.partition", tmp_path, timeout_s=180)
    assert finished.code == 0, str(finished)
    said = ("after a moment", "the cut-off", "cut off", "afterwards")
    assert [line for line in finished.output.splitlines() if line.startswith(said)] == [
        "after a moment: far 1",
        "the cut-off worker still runs: True",
        "cut off: head 2 node_lost",
        "afterwards: head 2 0 0 0",
    ], str(finished)
