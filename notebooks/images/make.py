"""Make the pictures of the README from a real run: a queue whose workers meet with accidents, watched while it works.

    python notebooks/images/make.py

The picture of the notebook's live view needs Chromium on the PATH, and is left as it is without it.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from rich.console import Console

import honeydew_ray as honeydew
from honeydew_ray import cards, terminal
from honeydew_ray.actors import cluster
from honeydew_ray.rates import Looks, Rates
from honeydew_ray.status import QueueStatus

HERE = Path(__file__).parent
PHOTOS = 160
LOOK_AT = 100
"""The picture is of the moment when so many are done."""


class Classifier:
    """Classifies by the sweat of its brow; some photos are more than it can take, the first time."""

    def __init__(self, marks: str) -> None:
        self.marks = Path(marks)

    def classify(self, number: int) -> str:
        for tenth in range(1, 5):
            honeydew.progress(f"photo {number}: layer {tenth} of 4")
            time.sleep(0.01 + number % 7 / 200)
        if number in (31, 67, 90) and self._first(number):
            os.kill(os.getpid(), signal.SIGKILL)
        if number in (45, 80) and self._first(number):
            raise ConnectionError("the disk with the photos went away")
        return "cat" if number % 3 else "dog"

    def _first(self, number: int) -> bool:
        try:
            (self.marks / str(number)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def watch(queue: honeydew.Queue, jobs: list[honeydew.Job[str]]) -> tuple[QueueStatus, Rates]:
    """The look of the moment that the picture is of; returns when all is done."""
    looks = Looks()
    chosen: tuple[QueueStatus, Rates] | None = None
    while not all(job.done() for job in jobs):
        status = queue.status()
        rates = looks.add(time.monotonic(), status)
        if chosen is None and status.succeeded >= LOOK_AT and sum(worker.progress is not None for worker in status.workers) == 4:
            chosen = status, rates
        time.sleep(0.1)
    if chosen is None:
        raise RuntimeError("the moment went by; run it again")
    return chosen


def terminal_picture(status: QueueStatus, rates: Rates, path: Path) -> None:
    """What ``honeydew status photos --watch`` shows."""
    console = Console(record=True, width=84, file=io.StringIO(), highlight=False, markup=False, force_terminal=True)
    console.print(terminal.status_view(status, rates))
    console.save_svg(str(path), title="honeydew status photos --watch")


def notebook_picture(status: QueueStatus, rates: Rates, path: Path) -> bool:
    """What ``photos.watch()`` shows, as Chromium draws it; False without Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        return False
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory, "page.html")
        head = "<!doctype html><meta charset=utf-8><body style='margin:10px;background:white'>"
        page.write_text(head + cards.status_card(status, rates).html)
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={directory}/profile",
                   "--force-device-scale-factor=2", "--window-size=520,275", f"--screenshot={path}", page.as_uri()]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
    return True


def main() -> None:
    cluster.connect("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    photos = honeydew.start_queue("photos", failure_mode=honeydew.Retry(times=3))
    with tempfile.TemporaryDirectory() as marks:
        photos.start_workers(Classifier, marks, num=4)
        photos.wait_for_workers(4)
        jobs = photos.submit_many("classify", range(PHOTOS))
        status, rates = watch(photos, jobs)
    terminal_picture(status, rates, HERE / "status.svg")
    if not notebook_picture(status, rates, HERE / "watch.png"):
        print("watch.png was not made: no Chromium was found")
    events = list(photos.events(history=True, follow=False))
    first = next(event.number for event in events if event.kind == "enqueued")
    work = [event._replace(number=event.number - first + 1) for event in events if event.number >= first]
    honeydew.timeline(work).save(HERE / "timeline.png")  # without the start of the workers
    photos.stop()


if __name__ == "__main__":
    main()
