"""A durable queue: its process is killed under a running job, and the job ends once, its result arriving all the same."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import honeydew_ray as honeydew


class Baker:
    """Bakes, which takes a while."""

    def bake(self, bread: str) -> str:
        for minute in range(10):
            honeydew.progress(f"{minute}/10")
            time.sleep(0.1)
        return f"{bread}, fresh"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        orders = honeydew.start_queue("orders", store=honeydew.SQLiteStore(Path(folder) / "orders.db"))
        orders.start_workers(Baker, num=1)
        orders.wait_for_workers(1)
        job = orders.submit("bake", "rye")
        later = orders.options(delay_s=3600).submit("bake", "wheat")
        while job.state != "in_progress":
            time.sleep(0.01)

        os.kill(orders.status().pid or 0, signal.SIGKILL)  # the queue's process, not the worker's
        print(f"{job.result(timeout=60)}, after {job.attempts} attempt")

        orders.stop()
        again = honeydew.start_queue("orders", store=honeydew.SQLiteStore(Path(folder) / "orders.db"))
        print("still there after a stop and a start:", *(found.args[0] for found in again.filter(state="delayed")))
        assert again.job(later.id).cancel() == "cancelled"
        again.stop()


if __name__ == "__main__":
    main()
