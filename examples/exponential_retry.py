"""A job that fails is tried again after longer and longer pauses, until the service it needs is back."""

import time

import honeydew_ray as honeydew


class Client:
    """Calls a service that is down at first: the fourth call is the first to get through."""

    calls = 0  # of the class, because a failed job's worker gets a new instance

    def fetch(self, page: str) -> str:
        Client.calls += 1
        if Client.calls < 4:
            raise ConnectionError(f"call {Client.calls} was refused")
        return f"{page}, at call {Client.calls}"


def main() -> None:
    # The pauses are base ** n - 1 seconds: 0, 0.5, 1.25 and so on. The default base is 2: 0, 1, 3, 7.
    queue = honeydew.start_queue("pages", failure_mode=honeydew.ExponentialRetry(times=5, base=1.5))
    queue.start_workers(Client, num=1)

    began = time.monotonic()
    job = queue.submit("fetch", "index.html")
    print("fetched:", job.result())
    print("attempts:", job.attempts)
    print("last error:", job.last_error.message if job.last_error else None)
    print("paused at least 1.75 s:", time.monotonic() - began >= 1.75)

    queue.stop()


if __name__ == "__main__":
    main()
