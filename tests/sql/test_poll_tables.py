"""Which tables can be queues, and how they become it."""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import alembic.migration
import alembic.operations
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, declarative_base, mapped_column

import honeydew_ray.migrations  # noqa: F401  (registers the operations)
from honeydew_ray import PollStore, StoreError, add_queue_columns, job_search, queue_mixin, views
from honeydew_ray.stores._poll.sql import DatabaseNow, RowStatements
from honeydew_ray.testing import StoreDriver
from honeydew_ray.testing.store_rules.base import ids
from tests.sql.tables import Photos


def test_a_plain_insert_enqueues_a_job_and_a_rolled_back_one_does_not(url: str) -> None:
    with Photos(url) as photos, photos.engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO photos (id) VALUES (7)")
        connection.rollback()
        store = photos.open()
        assert store.claim(5) == []
        connection.exec_driver_sql("INSERT INTO photos (id) VALUES (8)")
        connection.commit()
        job = store.claim_one()
        assert (job.id, job.method, job.args, job.attempt) == (8, "run", (8,), 1)


def test_a_mapped_class_becomes_a_queue_by_a_mixin(url: str) -> None:
    class Base(DeclarativeBase):
        pass

    class Animal(queue_mixin("animals", "vet"), Base):
        __tablename__ = "animals"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]

    class Dog(Animal):
        __tablename__ = "dogs"
        id: Mapped[int] = mapped_column(sa.ForeignKey("animals.id"), primary_key=True)

    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Dog(id=1, kind="dog"))
        session.commit()
        assert session.get(Animal, 1).honeydew_vet_lock == 0
    assert "honeydew_vet_lock" not in Dog.__table__.c
    for queue in ("animals", "vet"):  # one row in two queues
        with StoreDriver(PollStore(url, Animal, run_if=Animal.kind == "dog"), queue) as store:
            assert ids(store.claim(5)) == [1]
            assert [job.id for job in store.all()] == [1]
    engine.dispose()


def test_a_class_of_the_old_style_becomes_one_too() -> None:
    base: Any = declarative_base()

    class Photo(queue_mixin("photos"), base):
        __tablename__ = "photos"
        id = sa.Column(sa.Integer, primary_key=True)

    assert {column.name for column in Photo.__table__.c} == {"id", "honeydew_photos_lock", "honeydew_photos_private"}
    assert [index.name for index in Photo.__table__.indexes] == ["ix_photos_honeydew_photos"]


KEYS: dict[str, tuple[list[Any], list[Any]]] = {
    "text": ([sa.Text()], ["it's", 'a "key"', "50% :x;--", "ü"]),
    "uuid": ([sa.Uuid()], [uuid.UUID(int=1), uuid.UUID(int=2)]),
    "big": ([sa.BigInteger()], [-5, 2**62]),
    "time": ([sa.DateTime()], [datetime.datetime(2026, 1, 2, 3, 4, 5)]),
    "bytes": ([sa.LargeBinary()], [b"\x00\xff"]),
    "compound": ([sa.Integer(), sa.Text()], [(1, "a"), (1, "b"), (2, "a")]),
    "three": ([sa.Integer(), sa.Uuid(), sa.Date()], [(1, uuid.UUID(int=7), datetime.date(2026, 1, 1))]),
}


@contextlib.contextmanager
def _with_keys(url: str, types: list[Any], keys: list[Any]) -> Iterator[Photos]:
    """A table whose key has columns of these types, and a row for each key."""
    columns = [sa.Column(f"key {number}", column_type, primary_key=True) for number, column_type in enumerate(types)]
    names = [column.name for column in columns]
    with Photos(url, keys=columns) as photos:
        photos.insert(*(dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True)) for key in keys))
        yield photos


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_of_any_type_names_a_job(url: str, kind: str) -> None:
    types, keys = KEYS[kind]
    with _with_keys(url, types, keys) as photos:
        store = photos.open()
        assert sorted(map(repr, ids(store.all(limit=1)))) == sorted(map(repr, keys))
        jobs = store.claim(10)
        assert sorted(map(repr, ids(jobs))) == sorted(map(repr, keys))
        assert all(job.args == (job.id,) for job in jobs)
        assert store.find(keys[0]).id == keys[0]
        assert store.ack(*jobs) == [True] * len(jobs)
        assert store.all() == []
        for wrong in (object(), "no such key", 10**30, (1,), ("a", 1), (1, 2, 3, 4), None, [1, "zz"]):
            assert store.find(wrong) is None
            assert store.cancel(wrong) == "not_found"
            assert store.claim(1, only=wrong) == []


WRITTEN: dict[str, tuple[list[Any], list[Any]]] = {
    **KEYS, "day": ([sa.Date()], [datetime.date(2026, 1, 2), datetime.date(2026, 1, 3)]),
    "zoned": ([sa.DateTime(timezone=True)], [datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)]),
    "decimal": ([sa.Numeric(10, 2)], [Decimal("1.50"), Decimal(17)]),
}
del WRITTEN["bytes"]


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.filterwarnings("ignore:Dialect sqlite.* does \\*not\\* support Decimal")
def test_an_id_as_it_is_shown_finds_its_row(url: str, kind: str) -> None:
    types, keys = WRITTEN[kind]
    with _with_keys(url, types, keys) as photos:
        store = photos.open()
        for job in store.all():
            shown = views.id_view(job.id)
            typed = shown if isinstance(shown, str) else json.dumps(shown)
            assert [found.id for job_id in job_search.ids_of(typed) if (found := store.find(job_id))] == [job.id]


def test_names_that_need_quotes_and_names_at_the_limit(url: str) -> None:
    queue = "Queue.with-46_characters." + "x" * 21
    name = 'My "photos"; DROP TABLE x -- 50% :now'
    with Photos(url, queue, name=name) as photos:
        photos.insert(1, 2)
        store = photos.open(queue)
        assert ids(store.claim(1)) == [1]
        store.nack(*(job._replace(state="pending", seq=0) for job in store.claim(1)))
        assert sorted(ids(store.all())) == [1, 2]
    with pytest.raises(ValueError, match="at most 46 characters"):
        add_queue_columns(sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True)), queue + "x")
    for hostile in ("photos; drop table x", 'a"b', "a\0b", "ü"):
        with pytest.raises(ValueError, match="queue_name"):
            add_queue_columns(sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True)), hostile)


def test_long_names_of_tables_give_indexes_of_their_own() -> None:
    tables = [sa.Table("t" * 55 + end, sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True)) for end in ("a", "b")]
    for table in tables:
        add_queue_columns(table, "photos")
    names = {index.name for table in tables for index in table.indexes}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


def test_a_table_in_a_schema(postgres: str) -> None:
    with Photos(postgres, schema="My schema", create=False) as photos:
        photos.run('CREATE SCHEMA "My schema"')
        photos.table.metadata.create_all(photos.engine)
        photos.insert(1, size=3)
        store = photos.open(run_if=photos.table.c.size > 2)
        assert ids(store.claim(5)) == [1]


def test_run_if_holds_rows_back(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(*({"id": number, "size": number} for number in range(1, 6)))
        other = sa.Table("other", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
        other.create(photos.engine)
        photos.run("INSERT INTO other (id) VALUES (5)")
        assert ids(photos.open(run_if=photos.table.c.size < 2).claim(9)) == [1]
        assert ids(photos.open(run_if=sa.text("size = 2")).claim(9)) == [2]
        assert ids(photos.open(run_if=sa.exists().where(other.c.id == photos.table.c.id)).claim(9)) == [5]
        assert photos.open().counts().pending == 2
        for wrong in ("size > 2", 7, lambda row: True):
            with pytest.raises(TypeError, match="run_if"):
                photos.store(run_if=wrong)
        with pytest.raises(ValueError, match="no column"):
            photos.store(run_if=sa.Table("photos", sa.MetaData(), sa.Column("colour", sa.Text)).c.colour == "red")


def test_a_table_that_is_not_there(url: str) -> None:
    with Photos(url, create=False) as photos, pytest.raises(StoreError, match="no table photos"):
        photos.open()


def test_what_the_error_says_makes_the_table_a_queue(url: str) -> None:
    with Photos(url, create=False) as photos:
        photos.run("CREATE TABLE photos (id INTEGER PRIMARY KEY, size INTEGER)")
        photos.run("INSERT INTO photos (id) VALUES (1)")
        with pytest.raises(StoreError) as caught:
            photos.open()
        text = str(caught.value)
        assert "has no column 'honeydew_test_lock'" in text
        assert "op.add_queue_columns('photos', 'test')" in text
        for line in text.splitlines():
            if line.strip().startswith(("ALTER", "CREATE")):
                photos.run(line)
        photos.run("INSERT INTO photos (id) VALUES (2)")
        assert ids(photos.open().claim(9)) == [1, 2]


@pytest.mark.parametrize(("lock", "private", "wrong"), [("TEXT", "TEXT", "lock"), ("BIGINT", "INTEGER", "private")])
def test_columns_of_the_wrong_type_are_refused(url: str, lock: str, private: str, wrong: str) -> None:
    with Photos(url, create=False) as photos:
        photos.run(f"CREATE TABLE photos (id INTEGER PRIMARY KEY, honeydew_test_lock {lock}, honeydew_test_private {private})")
        with pytest.raises(StoreError, match=f"column 'honeydew_test_{wrong}' of table photos is of type"):
            photos.open()


def test_a_lock_that_cannot_hold_a_time_is_refused(postgres: str) -> None:
    with Photos(postgres, create=False) as photos:
        photos.run("CREATE TABLE photos (id INTEGER PRIMARY KEY, honeydew_test_lock INTEGER, honeydew_test_private TEXT)")
        with pytest.raises(StoreError, match="INTEGER, expected BIGINT"):
            photos.open()


def test_a_key_that_the_table_does_not_have_is_refused(url: str) -> None:
    with Photos(url, create=False) as photos:
        photos.run("CREATE TABLE photos (number INTEGER PRIMARY KEY)")
        with pytest.raises(StoreError, match="no column 'id'"):
            photos.open()


def test_a_missing_default_or_index_is_told(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with Photos(url, create=False) as photos:
        photos.run("CREATE TABLE photos (id INTEGER PRIMARY KEY, honeydew_test_lock BIGINT, honeydew_test_private TEXT)")
        photos.open()
    assert "does not enqueue its job" in caplog.text
    assert "reads the whole table" in caplog.text


def test_arguments_of_the_wrong_sort_are_refused_where_they_stand() -> None:
    keyed = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    bare = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer))
    with pytest.raises(TypeError, match="a mapped class"):
        PollStore("postgresql://h/d", "photos")
    with pytest.raises(ValueError, match="primary key"):
        PollStore("postgresql://h/d", bare)
    with pytest.raises(ValueError, match="primary key"):
        add_queue_columns(bare, "photos")
    with pytest.raises(TypeError, match=r"sqlalchemy\.Table"):
        add_queue_columns("photos", "photos")
    with pytest.raises(ValueError, match="queue_names"):
        queue_mixin()
    add_queue_columns(keyed, "photos")
    with pytest.raises(ValueError, match="has a column"):
        add_queue_columns(keyed, "PHOTOS")
    for source in (7, None, sa.create_engine("sqlite://")):
        with pytest.raises(TypeError, match="url_or_engine_factory"):
            PollStore(source, keyed)
    for source in ("no url", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(ValueError, match="url_or_engine_factory"):
            PollStore(source, keyed)
    for name in ("poll_interval_s", "stale_timeout_s", "timeout_s"):
        with pytest.raises(ValueError, match=name):
            PollStore("postgresql://h/d", keyed, **{name: 0})
    with pytest.raises(TypeError, match="task"):
        PollStore("postgresql://h/d", keyed, task="run")


def test_no_password_is_shown() -> None:
    keyed = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    store = PollStore("postgresql://ada:secret@db/photos", keyed)
    assert "secret" not in repr(store)
    assert "ada" in repr(store)
    with pytest.raises(ValueError) as caught:
        PollStore("//ada:secret@", keyed)
    assert "secret" not in str(caught.value)


KEYED = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


@pytest.mark.parametrize("source", [b"postgresql://ada:secret@db/photos", {"url": "postgresql://ada:secret@db/photos"}])
def test_no_password_is_shown_in_what_is_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="expected the URL of a database") as caught:
        PollStore(source, KEYED)
    assert "secret" not in str(caught.value)


def test_no_password_is_shown_of_a_function_that_holds_one() -> None:
    store = PollStore(functools.partial(sa.create_engine, "postgresql://ada:secret@db/photos"), KEYED)
    assert "secret" not in repr(store) and "partial" in repr(store)


@pytest.mark.parametrize("existing", ["enqueue", "skip"])
def test_a_migration_makes_a_queue_and_undoes_it(url: str, existing: str) -> None:
    with Photos(url, create=False) as photos:
        photos.run("CREATE TABLE photos (id INTEGER PRIMARY KEY, size INTEGER)")
        photos.run("INSERT INTO photos (id) VALUES (1)")
        _migrate(photos.engine, lambda op: op.add_queue_columns("photos", "test", existing=existing))
        photos.run("INSERT INTO photos (id) VALUES (2)")
        assert ids(photos.open().claim(9)) == ([1, 2] if existing == "enqueue" else [2])
        assert "ix_photos_honeydew_test" in {index["name"] for index in sa.inspect(photos.engine).get_indexes("photos")}
        _migrate(photos.engine, lambda op: op.drop_queue_columns("photos", "test"))
        assert {column["name"] for column in sa.inspect(photos.engine).get_columns("photos")} == {"id", "size"}
        photos.run("INSERT INTO photos (id) VALUES (3)")  # no trigger is left that would fail


def _migrate(engine: sa.Engine, step: Any) -> None:
    with engine.begin() as connection:
        step(alembic.operations.Operations(alembic.migration.MigrationContext.configure(connection)))


def test_the_statements_can_be_written_for_mysql_too() -> None:
    """Written, not run: there is no MySQL here."""
    table = sa.Table("photos", sa.MetaData(), sa.Column("a", sa.Integer, primary_key=True), sa.Column("b", sa.Integer, primary_key=True))
    add_queue_columns(table, "photos")
    sql = RowStatements(table, "photos", None, 1_000_000, DatabaseNow())
    text = str(sql.claimable(10).compile(dialect=mysql.dialect()))
    assert "FOR UPDATE SKIP LOCKED" in text
    assert "UNIX_TIMESTAMP(NOW(6))" in text
