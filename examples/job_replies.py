"""The ways to wait for a job, and what each outcome looks like."""

import asyncio
import time

import honeydew_ray as honeydew


class Calculator:
    def divide(self, a: float, b: float) -> float:
        return a / b

    def divide_slowly(self, a: float, b: float) -> float:
        time.sleep(0.5)
        return a / b


async def ask_for_many(queue: honeydew.Queue) -> list[float]:
    return await asyncio.gather(*(queue.submit("divide", n, 4) for n in range(4)))


def main() -> None:
    queue = honeydew.start_queue("sums")
    queue.start_workers(Calculator, num=1)

    print("a value:", queue.submit("divide", 1, 4).result(timeout=30))

    slow = queue.submit("divide_slowly", 3, 4)
    try:
        slow.result(timeout=0.1)
    except TimeoutError:
        print("a timeout: the job goes on, and can be asked again:", slow.result())

    try:
        queue.submit("divide", 1, 0).result()
    except honeydew.JobAbandoned as failure:
        print(f"a failure: {failure.class_name}: {failure.message}; its cause is {failure.__cause__!r}")

    try:
        queue.options(reply=False).submit("divide", 1, 4).result()
    except honeydew.ReplyNotRequested:
        print("no reply: none was asked for")

    print("awaited:", asyncio.run(ask_for_many(queue)))

    queue.stop()


if __name__ == "__main__":
    main()
