"""SQLAlchemy 2: the function as a table, joined to a model, over psycopg and over asyncpg."""

import os
from datetime import timedelta

from sqlalchemy import ARRAY, REAL, BigInteger, Float, String, cast, column, create_engine, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from witness import Witness, fails, random_vector, run

PLACE = "{PGUSER}@/{PGDATABASE}?host={PGHOST}&port={PGPORT}".format(**os.environ)
witness = Witness()
engine = create_engine(f"postgresql+psycopg://{PLACE}")


class Base(DeclarativeBase):
    pass


class Doc(Base):
    __tablename__ = "docs"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    title: Mapped[str | None]


def search(namespace, vector, top_k=10, **options):
    return func.vcache_search(namespace, literal(vector, ARRAY(REAL)), top_k, **options).table_valued(
        column("id", String), column("distance", Float), column("payload", JSONB)
    )


def joined(vector, top_k):
    found = search("documents", vector, top_k)
    return (
        select(Doc, found.c.distance)
        .join(found, Doc.id == cast(found.c.id, BigInteger))
        .order_by(found.c.distance)
    )


def as_plain(rows):
    return [(str(doc.id), distance, {"title": doc.title}) for doc, distance in rows]


def test_the_function_as_a_table():
    vector = random_vector(1)
    found = search("documents", vector, 5)
    for counts in [{"misses": 1}, {"hits": 1}]:
        with witness.counts(**counts), Session(engine) as session:
            rows = session.execute(select(found.c.id, found.c.distance, found.c.payload)).all()
        assert [tuple(row) for row in rows] == witness.plain(vector, 5)
    with witness.counts(hits=1), Session(engine) as session:
        title = session.scalar(select(found.c.payload["title"].astext).where(found.c.payload["title"].astext.is_not(None)))
        assert title.startswith("title ")


def test_joined_to_a_model():
    vector = random_vector(2)
    for counts in [{"misses": 1}, {"hits": 1}]:
        with witness.counts(**counts), Session(engine) as session:
            rows = session.execute(joined(vector, 5)).all()
            assert as_plain(rows) == witness.plain(vector, 5)
            assert isinstance(rows[0].Doc, Doc) and session.get(Doc, rows[0].Doc.id) is rows[0].Doc


def test_every_form_is_one_entry():
    vector = random_vector(3)
    forms = [literal(vector, ARRAY(REAL)), literal(vector, ARRAY(Float)), str(vector), vector]
    with witness.counts(misses=1, hits=3), Session(engine) as session:
        for form in forms:
            found = func.vcache_search("documents", form, 5).table_valued(column("id", String), column("distance", Float))
            rows = session.execute(select(found.c.id, found.c.distance)).all()
            assert [tuple(row) for row in rows] == [row[:2] for row in witness.plain(vector, 5)], form


def test_often_enough_to_be_prepared():
    with witness.counts(misses=4, hits=16), Session(engine) as session:
        for number in range(20):
            vector = random_vector(100 + number % 4)
            assert as_plain(session.execute(joined(vector, 3))) == witness.plain(vector, 3)


def test_how_long():
    vector = random_vector(4)
    with Session(engine) as session:
        for ttl, counts in [(timedelta(hours=1), {"misses": 1}), (timedelta(hours=1), {"hits": 1}), (timedelta(0), {"bypasses": 1})]:
            found = func.vcache_search("documents", literal(vector, ARRAY(REAL)), 3, None, ttl).table_valued("id", "distance")
            with witness.counts(**counts):
                assert len(session.execute(select(found.c.id)).all()) == 3


def test_a_session_that_has_written():
    vector = random_vector(5)
    with Session(engine) as session:
        session.execute(joined(vector, 3))
        with witness.counts(hits=1):
            session.execute(joined(vector, 3))
        session.add(Doc(id=1000, title="not yet committed"))
        with witness.counts(bypasses=1):
            session.execute(joined(vector, 3))  # flushes first
        session.rollback()
        with witness.counts(hits=1):
            session.execute(joined(vector, 3))


async def test_async():
    for number, driver in enumerate(["asyncpg", "psycopg"]):
        vector = random_vector(10 + number)
        engine = create_async_engine(f"postgresql+{driver}://{PLACE}")
        for counts in [{"misses": 1}, {"hits": 1}]:
            with witness.counts(**counts):
                async with AsyncSession(engine) as session:
                    rows = (await session.execute(joined(vector, 5))).all()
            assert as_plain(rows) == witness.plain(vector, 5)
        await engine.dispose()


def test_errors():
    with Session(engine) as session:
        with fails(DBAPIError) as raised:
            session.execute(select(search("nothing", random_vector(1)).c.id))
        assert raised[0].orig.sqlstate == "42704" and '"documents"' in raised[0].orig.diag.message_hint
        session.rollback()
        with fails(DBAPIError) as raised:
            session.execute(select(search("documents", [0.1, 0.2]).c.id))
        assert raised[0].orig.sqlstate == "22000" and raised[0].orig.diag.message_hint


run(globals())
