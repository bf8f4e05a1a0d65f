"""A script of a test: the head's control store, kept on disk, is killed under work, and started again after a while."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER = Path(sys.argv[1])
os.environ.update(RAY_gcs_storage="rocksdb", RAY_gcs_storage_path=str(FOLDER / "control"))

import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

import honeydew_ray as honeydew  # noqa: E402
from tests.cluster.crew import Crew  # noqa: E402
from tests.cluster.signals import Signal  # noqa: E402

AWAY = 20


def main() -> None:
    (FOLDER / "control").mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        queue = honeydew.start_queue("kept", store=honeydew.SQLiteStore(FOLDER / "kept.db"))
        queue.start_workers(Crew, num=2)
        queue.wait_for_workers(2)
        started, finish = Signal.make(FOLDER, "started"), Signal.make(FOLDER, "finish")
        running = queue.submit("hold", started, finish)
        started.wait()
        cluster.head_node.kill_gcs_server()
        away = [queue.submit("add", number) for number in range(AWAY)]
        print("while it was away:", [job.result(timeout=60) for job in away] == list(range(AWAY)))
        finish.send("held")
        print("over its death:", running.result(timeout=60), running.attempts)
        waiting = queue.options(delay_s=0.5).submit("add", 1)
        cluster.head_node.start_gcs_server()
        print("when it was back:", waiting.result(timeout=60), honeydew.queues(), honeydew.workers())
        worker, process = queue.submit("pid").result(timeout=60), queue.status().pid
        os.kill(worker, 9)
        os.kill(process, 9)
        print("a new queue, and new workers:", queue.submit("add", 2).result(timeout=60), queue.status().pid != process)
        queue.wait_for_workers(2, timeout=60)
        queue.stop()
        print("left:", honeydew.queues())
    finally:
        ray.shutdown()
        cluster.shutdown()


main()
