"""A worker that opens its database once and keeps it for all its jobs; after a crash a new worker opens it anew."""

import os
import sqlite3

import honeydew_ray as honeydew


class Capitals:
    """Looks up capitals. Its state, made once in ``__init__``, is a database in memory."""

    def __init__(self, capitals: dict[str, str]) -> None:
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.execute("CREATE TABLE capitals (country TEXT PRIMARY KEY, capital TEXT)")
        self.database.executemany("INSERT INTO capitals VALUES (?, ?)", capitals.items())
        self.lookups = 0

    def capital_of(self, country: str) -> tuple[str, int]:
        self.lookups += 1
        (capital,) = self.database.execute("SELECT capital FROM capitals WHERE country = ?", (country,)).fetchone()
        return capital, self.lookups

    def crash(self) -> None:
        os._exit(1)


def main() -> None:
    queue = honeydew.start_queue("capitals")
    queue.start_workers(Capitals, {"Peru": "Lima", "Norway": "Oslo", "Ghana": "Accra"}, num=1)

    for country in ("Peru", "Norway", "Ghana"):
        capital, lookups = queue.submit("capital_of", country).result()
        print(f"{country}: {capital} (lookup {lookups} of this worker)")

    try:
        queue.submit("crash").result()
    except honeydew.JobAbandoned as failure:
        print(f"the worker ended with exit code {failure.exit_code}")

    capital, lookups = queue.submit("capital_of", "Norway").result()
    print(f"Norway: {capital} (lookup {lookups} of its replacement)")

    queue.stop()


if __name__ == "__main__":
    main()
