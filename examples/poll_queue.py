"""The application's own tables as queues: users are welcomed and photos classified because their rows are inserted.

Runs on a SQLite file of its own, or on the PostgreSQL database whose URL is given: python examples/poll_queue.py postgresql://...
Needs `pip install 'honeydew-ray[sql]' scikit-learn`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from sklearn.datasets import load_digits

import honeydew_ray as honeydew

tables = sa.MetaData()
users = sa.Table(
    "users", tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("letters", sa.Integer, nullable=False, server_default="0"),
)
photos = sa.Table(
    "photos", tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), nullable=False),
    sa.Column("pixels", sa.LargeBinary, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("digit", sa.Integer),
)
honeydew.add_queue_columns(users, "welcome_users")  # a mapped class does it by a mixin, a migration by op.add_queue_columns
honeydew.add_queue_columns(photos, "classify_photos")


class Postman:
    """Welcomes users. The post loses the first two letters to each."""

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url)

    def run(self, user_id: int) -> str:
        with self.engine.begin() as connection:
            sent = sa.update(users).where(users.c.id == user_id).values(letters=users.c.letters + 1)
            name, letters = connection.execute(sent.returning(users.c.name, users.c.letters)).one()
        if letters < 3:
            raise ConnectionError(f"letter {letters} to {name} was lost")
        return name


class Reader:
    """Reads digits: an image is the digit that the mean image most like it shows."""

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url)
        digits = load_digits()
        self.means = np.stack([digits.data[digits.target == digit].mean(axis=0) for digit in range(10)])

    def run(self, photo_id: int) -> None:
        with self.engine.begin() as connection:
            pixels = connection.execute(sa.select(photos.c.pixels).where(photos.c.id == photo_id)).scalar_one()
            image = np.frombuffer(pixels, dtype=np.uint8)
            digit = int(((self.means - image) ** 2).sum(axis=1).argmin())
            connection.execute(sa.update(photos).where(photos.c.id == photo_id).values(digit=digit))


def main(url: str) -> None:
    engine = sa.create_engine(url)
    tables.create_all(engine)
    interval_s = 10.0 if engine.dialect.name == "postgresql" else 0.2  # PostgreSQL tells of new rows; SQLite has to be asked
    welcome = honeydew.start_queue("welcome_users", store=honeydew.PollStore(url, users, poll_interval_s=interval_s),
                                   failure_mode=honeydew.ExponentialRetry(times=3))
    welcome.start_workers(Postman, url, num=1)
    classify = honeydew.start_queue("classify_photos", store=honeydew.PollStore(
        url, photos, poll_interval_s=interval_s, run_if=photos.c.hidden.is_(False)))
    classify.start_workers(Reader, url, num=2)

    digits = load_digits()
    with engine.begin() as connection:  # one transaction: if it fails there is no user, no photo and no job
        connection.execute(sa.insert(users).values(id=1, name="Ada"))
        connection.execute(sa.insert(photos), [
            {"id": number, "user_id": 1, "pixels": image.astype(np.uint8).tobytes(), "hidden": number == 8}
            for number, image in enumerate(digits.data[:100])])
        connection.execute(sa.insert(photos).values(id=1000, user_id=1, pixels=b"no image", hidden=False))

    print(f"welcomed: {welcome.job(1).result(timeout=60)}, by letter 3")
    wait_until(lambda: classify.status().pending == 1 and classify.status().in_progress == 0)  # all but the hidden one
    with engine.connect() as connection:
        found = dict(connection.execute(sa.select(photos.c.id, photos.c.digit).where(photos.c.digit.is_not(None))).all())
    right = sum(digits.target[number] == digit for number, digit in found.items())
    print(f"classified: {len(found)} photos, {right} of them right; waiting because it is hidden: {classify.filter('pending')[0].id}")

    [dead] = classify.filter("abandoned")
    print(f"dead: photo {dead.id}, {dead.last_error.class_name}")
    with engine.begin() as connection:
        connection.execute(sa.update(photos).where(photos.c.id == dead.id).values(pixels=digits.data[3].astype(np.uint8).tobytes()))
    dead.retry().result(timeout=60)
    with engine.connect() as connection:
        print("revived:", connection.execute(sa.select(photos.c.digit).where(photos.c.id == dead.id)).scalar_one())

    for queue in (classify, welcome):
        queue.stop()
    tables.drop_all(engine)
    engine.dispose()


def wait_until(done: Callable[[], bool]) -> None:
    """For a queue whose jobs nobody submitted, so that nobody holds their handles."""
    while not done():
        time.sleep(0.05)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1].replace("postgresql://", "postgresql+psycopg://"))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(f"sqlite:///{Path(folder) / 'photos.db'}")
