"""asyncpg: it asks the server for the types of parameters, so an array needs its type in the statement."""

import json
from datetime import timedelta

import asyncpg
import numpy

from witness import Witness, fails, random_vector, run

SEARCH = "SELECT id, distance, payload FROM vcache_search($1, $2::real[], $3)"
witness = Witness()


def decoded(rows):
    """As the plain query's; asyncpg leaves jsonb to its user."""
    return [(row["id"], row["distance"], json.loads(row["payload"])) for row in rows]


async def test_a_search():
    vector = random_vector(1)
    for counts in [{"misses": 1}, {"hits": 1}]:
        with witness.counts(**counts):
            connection = await asyncpg.connect()
            rows = await connection.fetch(
                "SELECT id, distance, payload FROM vcache_search($1, $2::real[], $3)",
                "documents", vector, 10,
            )
            await connection.close()
        assert decoded(rows) == witness.plain(vector, 10)


async def test_every_form_is_one_entry():
    vector = random_vector(2)
    single = numpy.array(vector, dtype=numpy.float32)
    forms = [
        ("::real[]", vector),
        ("::real[]", tuple(vector)),
        ("::real[]", single),
        ("::real[]", single.tolist()),
        ("::float8[]", vector),
        ("::float8[]", single),
        ("::numeric[]", vector),
        ("", str(vector)),
        ("::text", json.dumps(vector)),
    ]
    connection = await asyncpg.connect()
    with witness.counts(misses=1, hits=len(forms) - 1):
        for cast, value in forms:
            rows = await connection.fetch(SEARCH.replace("::real[]", cast), "documents", value, 5)
            assert decoded(rows) == witness.plain(vector, 5), (cast, type(value))
    with witness.counts(misses=1, hits=1):
        for value in [list(range(8)), [float(number) for number in range(8)]]:
            await connection.fetch(SEARCH, "documents", value, 5)
    await connection.close()


async def test_payloads_as_dicts():
    vector = random_vector(3)
    connection = await asyncpg.connect()
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    rows = await connection.fetch(SEARCH, "documents", vector, 3)
    assert [tuple(row) for row in rows] == witness.plain(vector, 3)
    assert (await connection.fetchrow(SEARCH, "bare", vector, 3))["payload"] is None
    await connection.close()


async def test_prepared_statements():
    connection = await asyncpg.connect()
    search = await connection.prepare(SEARCH)
    assert [parameter.name for parameter in search.get_parameters()] == ["text", "float4[]", "int4"]
    assert [attribute.type.name for attribute in search.get_attributes()] == ["text", "float8", "jsonb"]
    with witness.counts(misses=4, hits=16):
        for number in range(20):
            vector = random_vector(100 + number % 4)
            assert decoded(await search.fetch("documents", vector, 3)) == witness.plain(vector, 3)
    await connection.close()


async def test_how_long():
    vector = random_vector(4)
    connection = await asyncpg.connect()
    search = "SELECT id, distance FROM vcache_search($1, $2::real[], ttl => $3)"
    await connection.fetch(search, "documents", vector, timedelta(hours=1))
    explained = await connection.fetchrow(
        "SELECT outcome, expires_in FROM vcache_explain($1, $2::real[], ttl => $3)", "documents", vector, timedelta(hours=1)
    )
    assert explained["outcome"] == "hit" and timedelta(minutes=10) < explained["expires_in"] <= timedelta(hours=1)
    with witness.counts(bypasses=1):
        await connection.fetch(search, "documents", vector, timedelta(0))
    await connection.close()


async def test_filters():
    connection = await asyncpg.connect()
    rows = await connection.fetch(
        "SELECT id FROM vcache_search($1, $2::real[], filter => $3)",
        "documents", random_vector(7), json.dumps({"n": 3}),
    )
    assert rows and all(int(row["id"]) % 7 == 3 for row in rows), rows
    await connection.close()


async def test_pools_and_cursors():
    vector = random_vector(5)
    expected = witness.plain(vector, 6)
    # A pool resets a connection that comes back.
    async with asyncpg.create_pool(min_size=1, max_size=1) as pool:
        with witness.counts(misses=1, hits=4):
            for _ in range(5):
                assert decoded(await pool.fetch(SEARCH, "documents", vector, 6)) == expected
        with witness.counts(hits=1):
            async with pool.acquire() as connection, connection.transaction():
                found = [row async for row in connection.cursor(SEARCH, "documents", vector, 6, prefetch=2)]
            assert decoded(found) == expected


async def test_errors():
    connection = await asyncpg.connect()
    with fails(asyncpg.UndefinedObjectError) as raised:
        await connection.fetch(SEARCH, "nothing", random_vector(1), 3)
    assert raised[0].sqlstate == "42704" and '"documents"' in raised[0].hint
    with fails(asyncpg.DataError) as raised:
        await connection.fetch(SEARCH, "documents", [0.1, 0.2], 3)
    assert raised[0].sqlstate == "22000" and raised[0].message == "expected 8 dimensions, not 2" and raised[0].hint
    # Without a type in the statement the parameter is text, and a list is none.
    with fails(asyncpg.DataError) as raised:
        await connection.fetch(SEARCH.replace("::real[]", ""), "documents", random_vector(1), 3)
    assert "expected str, got list" in str(raised[0])
    await connection.close()


run(globals())
