"""What the benchmarks run: the worker class, and what a user would write by hand."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

WORKERS = 2


class Echo:
    """The worker: state that is nothing, a job that is nothing."""

    def echo(self, value: Any) -> Any:
        return value

    def hold(self, marks: str) -> int:
        """Mark the start, and hold on the first attempt until killed."""
        path = Path(marks)
        with path.open("a") as file:
            file.write(f"{time.monotonic()} {os.getpid()}\n")
        if len(path.read_text().splitlines()) == 1:
            time.sleep(600)
        return os.getpid()


class BareDispatcher:
    """What a user would write by hand: an async actor that awaits its workers, one call at a time each."""

    def __init__(self, workers: list[Any]) -> None:
        self.workers = workers

    async def run(self, jobs: list[int]) -> list[int]:
        left = iter(list(enumerate(jobs)))
        results: list[int] = [0] * len(jobs)

        async def drive(worker: Any) -> None:
            for index, job in left:
                results[index] = await worker.echo.remote(job)

        await asyncio.gather(*(drive(worker) for worker in self.workers))
        return results
