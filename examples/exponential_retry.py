"""A job that fails is tried again after longer and longer pauses, until the service it needs is back."""

import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer

import honeydew_ray as honeydew


class Shop(BaseHTTPRequestHandler):
    """A service on this machine that is down at first: it answers its fourth request, and no earlier one."""

    requests = 0

    def do_GET(self) -> None:
        Shop.requests += 1
        self.send_response(503 if Shop.requests < 4 else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Buyer:
    def __init__(self, port: int) -> None:
        self.port = port

    def visit(self) -> str:
        shop = HTTPConnection("127.0.0.1", self.port)
        shop.request("GET", "/")
        status = shop.getresponse().status
        if status != 200:
            raise ConnectionError(f"the shop answered {status}")
        return f"the shop answered {status}"


def main() -> None:
    shop = HTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=shop.serve_forever, daemon=True).start()

    # The pauses are base ** n - 1 seconds: 0, 0.5, 1.25 and so on. The default base is 2: 0, 1, 3, 7.
    queue = honeydew.start_queue("visits", failure_mode=honeydew.ExponentialRetry(times=5, base=1.5))
    queue.start_workers(Buyer, shop.server_port, num=1)

    began = time.monotonic()
    job = queue.submit("visit")
    print("result:", job.result())
    print("attempts:", job.attempts)
    print("last error:", job.last_error.message if job.last_error else None)
    print("paused at least 1.75 s:", time.monotonic() - began >= 1.75)

    queue.stop()


if __name__ == "__main__":
    main()
