"""A job that says how far it is, and a queue that says what its workers are doing."""

import time

import honeydew_ray as honeydew


class Downloader:
    def download(self, items: int) -> int:
        for item in range(1, items + 1):
            honeydew.progress(f"downloaded {item}/{items} items")
            time.sleep(0.3)  # the work
        return items


def main() -> None:
    queue = honeydew.start_queue("downloads")
    queue.start_workers(Downloader, num=1)
    first = queue.submit("download", 5)
    queue.submit("download", 2)

    shown = None
    while first.state not in ("done", "abandoned"):
        progress = first.progress
        if progress != shown:
            print("progress:", progress)
            show(queue.status())
            shown = progress
        time.sleep(0.05)
    print("downloaded:", first.result())

    queue.stop(drain=True)  # the second job is finished first


def show(status: honeydew.QueueStatus) -> None:
    print(f"  queue {status.name}: {status.pending} pending, {status.in_progress} in progress")
    for worker in status.workers:
        print(f"  a worker is {worker.state}: {worker.progress}")


if __name__ == "__main__":
    main()
