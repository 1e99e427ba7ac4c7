"""pgvector's package for Python: numpy arrays and its Vector. Its adapters need pgvector's type; RuVector takes what its types give as text or as lists."""

import os

import asyncpg
import numpy
import psycopg
from pgvector import HalfVector, SparseVector, Vector
from pgvector.asyncpg import register_vector as register_vector_with_asyncpg
from pgvector.psycopg import register_vector, register_vector_async
from pgvector.sqlalchemy import VECTOR as VectorType
from sqlalchemy import create_engine, func, literal, select

from witness import VECTOR, Witness, fails, random_vector, run

SEARCH = "SELECT id, distance, payload FROM vcache_search(%s, %s, %s)"
witness = Witness()


def test_without_adapters():
    vector = random_vector(1)
    array = numpy.array(vector, dtype=numpy.float32)
    forms = [array.tolist(), Vector(array).to_text(), Vector(array).to_list(), str(Vector(array).to_numpy().tolist())]
    with witness.counts(misses=1, hits=3), psycopg.connect() as connection:
        for form in forms:
            assert connection.execute(SEARCH, ("documents", form, 5)).fetchall() == witness.plain(vector, 5), form


def test_with_psycopg():
    if VECTOR != "vector":
        with psycopg.connect() as connection, fails(psycopg.ProgrammingError) as raised:
            register_vector(connection)
        assert "vector type not found" in str(raised[0])
        return
    vector = random_vector(2)
    forms = [
        numpy.array(vector, dtype=numpy.float32),
        numpy.array(vector),
        Vector(vector),
        vector,
        str(vector),
    ]
    with witness.counts(misses=1, hits=4 * len(forms) - 1), psycopg.connect() as connection:
        register_vector(connection)
        for form in forms:
            for place in ["%s", "%b", "%t"]:
                query = SEARCH.replace("%s, %s)", f"{place}, %s)")
                assert connection.execute(query, ("documents", form, 5)).fetchall() == witness.plain(vector, 5), (form, place)
            rows = connection.execute(SEARCH, ("documents", form, 5), binary=True, prepare=True).fetchall()
            assert rows == witness.plain(vector, 5), form


def test_a_stored_vector_as_the_question():
    if VECTOR != "vector":
        return
    with psycopg.connect() as connection:
        register_vector(connection)
        stored = connection.execute("SELECT embedding FROM docs WHERE id = 7").fetchone()[0]
        for counts in [{"misses": 1}, {"hits": 1}]:
            with witness.counts(**counts):
                rows = connection.execute(SEARCH, ("documents", stored, 3)).fetchall()
            assert rows[0][:2] == ("7", 0.0), rows


async def test_with_asyncpg():
    connection = await asyncpg.connect()
    if VECTOR == "vector":
        vector = random_vector(3)
        await register_vector_with_asyncpg(connection)
        forms = [numpy.array(vector, dtype=numpy.float32), numpy.array(vector), Vector(vector), vector]
        with witness.counts(misses=1, hits=len(forms)):
            for form in forms:
                rows = await connection.fetch("SELECT id, distance FROM vcache_search($1, $2::vector, 5)", "documents", form)
                assert [tuple(row) for row in rows] == [row[:2] for row in witness.plain(vector, 5)], form
            await connection.fetch("SELECT id FROM vcache_search($1, $2::real[], 5)", "documents", vector)
    else:
        with fails(ValueError):
            await register_vector_with_asyncpg(connection)
    await connection.close()


async def test_with_async_psycopg():
    if VECTOR != "vector":
        return
    vector = random_vector(4)
    async with await psycopg.AsyncConnection.connect() as connection:
        await register_vector_async(connection)
        for counts in [{"misses": 1}, {"hits": 1}]:
            with witness.counts(**counts):
                cursor = await connection.execute(SEARCH, ("documents", numpy.array(vector), 5))
                assert await cursor.fetchall() == witness.plain(vector, 5)


def test_with_sqlalchemy():
    # Its type writes text, which both engines read.
    vector = random_vector(5)
    engine = create_engine("postgresql+psycopg://{PGUSER}@/{PGDATABASE}?host={PGHOST}&port={PGPORT}".format(**os.environ))
    forms = [vector, numpy.array(vector), numpy.array(vector, dtype=numpy.float32), Vector(vector)]
    with witness.counts(misses=1, hits=len(forms) - 1), engine.connect() as connection:
        for form in forms:
            found = func.vcache_search("documents", literal(form, VectorType), 5).table_valued("id", "distance")
            rows = connection.execute(select(found.c.id, found.c.distance)).all()
            assert [tuple(row) for row in rows] == [row[:2] for row in witness.plain(vector, 5)], form


def test_other_types():
    if VECTOR != "vector":
        return
    vector = random_vector(6)
    half = HalfVector(vector)
    with psycopg.connect() as connection:
        register_vector(connection)
        with witness.counts(misses=1, hits=1):
            for form in [half, half.to_list()]:
                assert connection.execute(SEARCH, ("documents", form, 5)).fetchall() == witness.plain(half.to_list(), 5)
        with fails(psycopg.errors.DatatypeMismatch) as raised:
            connection.execute(SEARCH, ("documents", SparseVector(vector), 3))
        assert "sparsevec" in raised[0].diag.message_primary and raised[0].diag.message_hint


run(globals())
