"""A table whose rows are jobs, and the program that it belongs to: it knows its database, and of the queue only the columns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

import honeydew_ray as honeydew
from tests.hammer.queues import ROWS
from tests.hammer.recorder import Recorder

TABLE = sa.Table("rows", sa.MetaData(), sa.Column("uid", sa.Text, primary_key=True))
honeydew.add_queue_columns(TABLE, ROWS)
CONNECT_S = 5


def store(url: str) -> honeydew.PollStore:
    """The queue's store on the table."""
    return honeydew.PollStore(url, TABLE, poll_interval_s=1.0, stale_timeout_s=300.0)


def create(url: str) -> None:
    """Make the table."""
    engine = sa.create_engine(url)
    TABLE.metadata.create_all(engine)
    engine.dispose()


class Application:
    """Inserts rows, a few to a transaction, and takes some transactions back."""

    def __init__(self, url: str, driver: str, chance: random.Random, recorder: Recorder) -> None:
        self._engine = sa.create_engine(url, connect_args={"connect_timeout": CONNECT_S})
        self._driver = driver
        self._chance = chance
        self._recorder = recorder

    def insert(self, new_uid: Callable[[], str]) -> list[str]:
        """Insert some rows; those that are surely there.

        Nobody waits for what they return: a table keeps no results. A transaction that ends with an error
        may have been committed: the answer is lost with the connection.
        """
        uids = [new_uid() for _ in range(self._chance.randint(1, 6))]
        changes_its_mind = self._chance.random() < 0.15
        for uid in uids:
            self._recorder.note("enq.invoke", uid=uid, queue=ROWS, driver=self._driver, delay_s=0.0, waits=False)
        answer = "fail" if changes_its_mind else "info"
        try:
            answer = self._transaction(uids, changes_its_mind)
        except sa.exc.DBAPIError:
            time.sleep(0.2)  # the database is away
        for uid in uids:
            self._recorder.note(f"enq.{answer}", uid=uid)
        return uids if answer == "ok" else []

    def _transaction(self, uids: Sequence[str], changes_its_mind: bool) -> str:
        with self._engine.connect() as connection, connection.begin() as transaction:
            connection.execute(sa.insert(TABLE), [{"uid": uid} for uid in uids])
            if changes_its_mind:
                time.sleep(self._chance.uniform(0.0, 0.05))
                transaction.rollback()
                return "fail"
        return "ok"

    def close(self) -> None:
        self._engine.dispose()
