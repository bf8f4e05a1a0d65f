"""What many idle queues cost: a process each, so memory sets the number.

    python -m tests.benchmarks.many_queues [--queues 40]

Starts queues one after the other, and prints as JSON how long one took, the memory of one process (its own share: what processes
share is divided among them), and the processor time that one uses for a second of doing nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import time
from pathlib import Path

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster

IDLE_S = 20.0


def share_of_memory(pid: int) -> float:
    """Megabytes that would be free if the process ended."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = re.search(r"^Pss: +(\d+)", rollup, re.MULTILINE)
    assert kilobytes is not None
    return int(kilobytes[1]) / 1000


def processor_time(pid: int) -> float:
    """Seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(number: int) -> dict[str, float]:
    """Start so many queues and leave them alone for a while."""
    began = time.monotonic()
    queues = [honeydew.start_queue(f"many-{count}") for count in range(number)]
    started_s = time.monotonic() - began
    pids = [queue.status().pid for queue in queues]
    before = sum(map(processor_time, pids))
    time.sleep(IDLE_S)
    used_s = sum(map(processor_time, pids)) - before
    result = {"queues": number, "start_s": started_s / number, "memory_mb": statistics.mean(map(share_of_memory, pids)),
              "processor_ms_per_s": used_s / number / IDLE_S * 1000}
    for queue in queues:
        queue.stop()
    return {what: round(value, 2) for what, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.many_queues")
    parser.add_argument("--queues", type=int, default=40)
    options = parser.parse_args()
    cluster.connect("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        for number in sorted({min(10, options.queues), options.queues}):
            print(json.dumps(measure(number)), flush=True)
    finally:
        cluster.disconnect()


if __name__ == "__main__":
    main()
