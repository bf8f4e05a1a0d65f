"""A job that runs later: it waits in the queue, and holds no worker while it does."""

import time

import honeydew_ray as honeydew


class Greeter:
    def greet(self, name: str) -> str:
        return f"hello, {name}"


def main() -> None:
    queue = honeydew.start_queue("greetings")
    queue.start_workers(Greeter, num=1)
    queue.submit("greet", "worker").result()  # the worker is up from here on

    began = time.monotonic()
    later = queue.options(delay_s=1.5).submit("greet", "later")
    now = queue.submit("greet", "now")

    print(now.result(), f"(state of the other: {later.state})")
    print("delayed:", queue.status().delayed)
    print(later.result())
    waited = time.monotonic() - began
    print("waited at least 1.5 s:", waited >= 1.5)

    queue.stop()


if __name__ == "__main__":
    main()
