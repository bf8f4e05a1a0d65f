"""A script of a test: a node in a network namespace of its own, whose cable is pulled, first for a moment, then for good."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.update({"RAY_gcs_rpc_server_reconnect_timeout_s": "5"})  # after which a node that is cut off gives up by itself

import ray

import honeydew_ray as honeydew
from tests.cluster.machines import machines, until

NAME = f"hd{os.getpid() % 100_000}"
NETWORK = f"10.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"
HERE, THERE = f"{NETWORK}.1", f"{NETWORK}.2"


class Holder:
    """Holds a job until it is told to go on, and says where."""

    def hold(self, folder: str) -> str:
        place = ray.get_runtime_context().get_node_labels()["zone"]
        Path(folder, f"started-{place}").write_text(str(os.getpid()))
        while not Path(folder, "finish").exists():
            time.sleep(0.02)
        Path(folder, f"finished-{place}").touch()
        return place


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def cable() -> Iterator[Callable[[bool], None]]:
    """A second network, and a cable to it; the function plugs it in and out."""
    ip("netns", "add", NAME)
    try:
        ip("link", "add", NAME, "type", "veth", "peer", "name", "eth0", "netns", NAME)
        ip("addr", "add", f"{HERE}/24", "dev", NAME)
        ip("link", "set", NAME, "up")
        ip("-n", NAME, "addr", "add", f"{THERE}/24", "dev", "eth0")
        ip("-n", NAME, "link", "set", "eth0", "up")
        ip("-n", NAME, "link", "set", "lo", "up")
        yield lambda plugged: ip("link", "set", NAME, "up" if plugged else "down")
    finally:
        ip("netns", "del", NAME)


@contextlib.contextmanager
def far_node(address: str) -> Iterator[None]:
    ray_command = [str(Path(sys.executable).with_name("ray")), "start", "--block", f"--address={address}", f"--node-ip-address={THERE}",
                   "--num-cpus=2", '--labels=zone=far']
    node = subprocess.Popen(["ip", "netns", "exec", NAME, *ray_command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        node.terminate()
        node.wait()


def held(queue: honeydew.Queue, folder: Path) -> honeydew.Job[str]:
    """A job that is held on the far node."""
    folder.mkdir()
    job = queue.submit("hold", str(folder))
    until((folder / "started-far").exists)
    return job


def main(folder: Path) -> None:
    with cable() as plug, machines(node_ip_address=HERE) as nodes, far_node(nodes.address):
        queue = honeydew.start_queue("cut", ray_options={"resources": {"head": 0.001}})
        queue.start_workers(Holder, num=1, nodes={"zone": "far"}, group="far")
        queue.wait_for_workers(1)

        job = held(queue, folder / "moment")
        plug(False)
        time.sleep(1)
        plug(True)
        (folder / "moment" / "finish").touch()
        print("after a moment:", job.result(timeout=60), job.attempts)

        job = held(queue, folder / "good")
        queue.start_workers(Holder, num=1, nodes={"zone": "head"}, group="near")
        queue.wait_for_workers(2)
        cut_off = int((folder / "good" / "started-far").read_text())
        plug(False)
        until((folder / "good" / "started-head").exists, within_s=60)
        print("the cut-off worker still runs:", Path(f"/proc/{cut_off}").exists())
        (folder / "good" / "finish").touch()
        print("cut off:", job.result(timeout=60), job.attempts, job.last_error and job.last_error.kind)
        until((folder / "good" / "finished-far").exists)
        plug(True)
        until(lambda: not Path(f"/proc/{cut_off}").exists(), within_s=60)
        status = queue.status()
        print("afterwards:", job.result(), job.attempts, status.pending, status.in_progress, status.abandoned)
        queue.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
