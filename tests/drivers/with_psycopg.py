"""psycopg 3: text and binary, prepared and not, cursors of the server, pipelines, async."""

import itertools
import json
from datetime import timedelta
from decimal import Decimal

import numpy
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from witness import Witness, fails, random_vector, run

class Real:
    """A vector, sent as real[]."""

    def __init__(self, elements):
        self.elements = numpy.asarray(elements, dtype=">f4")


class RealDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY
    oid = psycopg.adapters.types["float4"].array_oid
    _element = numpy.dtype([("length", ">i4"), ("value", ">f4")])

    def dump(self, obj):
        elements = numpy.empty(obj.elements.size, self._element)
        elements["length"] = 4
        elements["value"] = obj.elements
        # One dimension, no NULLs, elements of type real, from 1.
        return numpy.array([1, 0, 700, obj.elements.size, 1], ">i4").tobytes() + elements.tobytes()


psycopg.adapters.register_dumper(Real, RealDumper)

SEARCH = "SELECT id, distance, payload FROM vcache_search(%s, %s, %s)"
witness = Witness()


def test_a_search():
    vector = random_vector(1)
    expected = witness.plain(vector, 10)
    for counts in [{"misses": 1}, {"hits": 1}]:
        with witness.counts(**counts), psycopg.connect() as connection:
            rows = connection.execute(
                "SELECT id, distance, payload FROM vcache_search(%s, %s, %s)",
                ("documents", vector, 10),
            ).fetchall()
        assert rows == expected
        assert [type(value) for value in rows[0]] == [str, float, dict]


def test_every_form_is_one_entry():
    vector = random_vector(2)
    single = numpy.array(vector, dtype=numpy.float32)
    forms = {
        "list": vector,
        "text": str(vector),
        "JSON": json.dumps(vector),
        "array literal": "{" + ",".join(map(str, vector)) + "}",
        "list of numpy": single.tolist(),
        "numpy's doubles": list(numpy.array(vector)),
        "numpy's singles": list(single),
        "decimals": [Decimal(repr(element)) for element in vector],
    }
    places = [SEARCH, SEARCH.replace("%s, %s)", "%b, %s)"), SEARCH.replace("%s, %s)", "%t, %s)")]
    ways = list(itertools.product(forms.items(), places, [False, True], [False, True]))
    expected = witness.plain(vector, 5)
    with witness.counts(misses=1, hits=len(ways) - 1), psycopg.connect(autocommit=True) as connection:
        for (form, value), query, binary, prepare in ways:
            with connection.cursor(binary=binary) as cursor:
                cursor.execute(query, ("documents", value, 5), prepare=prepare)
                assert cursor.fetchall() == expected, (form, query, binary, prepare)


def test_long_vectors():
    vector = random_vector(9)
    forms = [vector, tuple(vector), numpy.array(vector), numpy.array(vector, dtype=numpy.float32)]
    with witness.counts(misses=1, hits=len(forms)), psycopg.connect() as connection:
        rows = connection.execute(SEARCH, ("documents", vector, 10)).fetchall()
        expected = rows
        for vector in forms:
            rows = connection.execute(
                "SELECT id, distance, payload FROM vcache_search(%s, %s, %s)",
                ("documents", Real(vector), 10),
            ).fetchall()
            assert rows == expected, vector


def test_prepared_statements():
    with psycopg.connect(autocommit=True) as connection:
        with witness.counts(misses=4, hits=16):
            for number in range(20):
                vector = random_vector(100 + number % 4)
                rows = connection.execute(SEARCH, ("documents", vector, 3), prepare=True).fetchall()
                assert rows == witness.plain(vector, 3), number
        prepared = connection.execute("SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement ~ 'vcache_search'")
        # From the sixth execution on PostgreSQL plans no more.
        assert prepared.fetchall() == [(15, 5)]


def test_whole_numbers():
    with witness.counts(misses=1, hits=1), psycopg.connect() as connection:
        for vector in [[1, 2, 3, 4, 5, 6, 7, 800000], [1.0, 2, 3, 4, 5, 6, 7, 800000]]:
            rows = connection.execute(
                "SELECT id FROM vcache_search(%s, %s)",
                ("documents", [float(element) for element in vector]),
            ).fetchall()
            assert len(rows) == 10


def test_how_long():
    vector = random_vector(3)
    with psycopg.connect() as connection:
        connection.execute(
            "SELECT id, distance FROM vcache_search(%s, %s, ttl => %s)",
            ("documents", vector, timedelta(hours=1)),
        )
        explained = connection.execute(
            "SELECT outcome, tier, age, expires_in FROM vcache_explain(%s, %s, ttl => %s)",
            ("documents", vector, timedelta(hours=1)),
        ).fetchone()
        assert explained[:2] == ("hit", "shared"), explained
        assert timedelta(0) <= explained[2] < timedelta(minutes=5), explained
        assert timedelta(minutes=10) < explained[3] <= timedelta(hours=1), explained
        search = "SELECT id FROM vcache_search(%s, %s, ttl => %s)"
        with witness.counts(hits=1):
            connection.execute(search, ("documents", vector, None))
        with witness.counts(bypasses=1):
            connection.execute(search, ("documents", vector, timedelta(0)))


def test_filters():
    vector = random_vector(7)
    with psycopg.connect() as connection:
        rows = connection.execute(
            "SELECT id FROM vcache_search(%s, %s, filter => %s)",
            ("documents", vector, Jsonb({"n": {"$in": [3, 4]}})),
        ).fetchall()
        assert rows and all(int(row[0]) % 7 in (3, 4) for row in rows), rows
        with witness.counts(hits=1):
            search = "SELECT id FROM vcache_search(%s, %s, filter => %s)"
            connection.execute(search, ("documents", vector, json.dumps({"n": {"$gte": 3, "$lt": 5}})))


def test_payloads_and_names():
    vector = random_vector(4)
    with psycopg.connect(row_factory=dict_row) as connection:
        row = connection.execute("SELECT * FROM vcache_search(%s, %s)", ("documents", vector)).fetchone()
        assert list(row) == ["id", "distance", "payload"] and list(row["payload"]) == ["title"], row
        row = connection.execute("SELECT * FROM vcache_search(%s, %s)", ("bare", vector)).fetchone()
        assert row["payload"] is None, row
        row = connection.execute("SELECT * FROM vcache_search(namespace => %(n)s, vector => %(v)s)", {"n": "bare", "v": vector}).fetchone()
        assert row["payload"] is None, row


def test_cursors():
    vector = random_vector(5)
    expected = witness.plain(vector, 7)
    with witness.counts(misses=1, hits=1), psycopg.connect() as connection:
        for _ in range(2):
            with connection.cursor(name="found", scrollable=True) as cursor:
                cursor.execute(SEARCH, ("documents", vector, 7))
                assert cursor.fetchmany(2) == expected[:2]
                assert cursor.fetchmany(9) == expected[2:]
                cursor.scroll(1, mode="absolute")
                assert cursor.fetchone() == expected[1]
    # Parameters that the driver writes into the text.
    with witness.counts(hits=1), psycopg.connect(cursor_factory=psycopg.ClientCursor) as connection:
        assert connection.execute(SEARCH, ("documents", vector, 7)).fetchall() == expected
    with witness.counts(hits=1), psycopg.connect(cursor_factory=psycopg.RawCursor) as connection:
        search = "SELECT id, distance, payload FROM vcache_search($1, $2, $3)"
        assert connection.execute(search, ["documents", vector, 7]).fetchall() == expected


def test_pipelines():
    vectors = [random_vector(200 + number) for number in range(5)]
    for counts in [{"misses": 5}, {"hits": 5}]:
        with witness.counts(**counts), psycopg.connect(autocommit=True) as connection, connection.pipeline():
            cursors = [connection.execute(SEARCH, ("documents", vector, 4)) for vector in vectors]
            for vector, cursor in zip(vectors, cursors):
                assert cursor.fetchall() == witness.plain(vector, 4)
    with witness.counts(hits=5), psycopg.connect() as connection:
        cursor = connection.cursor()
        cursor.executemany(SEARCH, [("documents", vector, 4) for vector in vectors], returning=True)
        for vector in vectors:
            assert cursor.fetchall() == witness.plain(vector, 4)
            cursor.nextset()


async def test_async():
    vector = random_vector(6)
    for counts in [{"misses": 1}, {"hits": 1}]:
        with witness.counts(**counts):
            async with await psycopg.AsyncConnection.connect() as connection:
                cursor = await connection.execute(
                    "SELECT id, distance, payload FROM vcache_search(%s, %s, %s)",
                    ("documents", vector, 10),
                )
                rows = await cursor.fetchall()
        assert rows == witness.plain(vector, 10)


def test_transactions():
    vector = random_vector(7)
    with psycopg.connect() as connection:
        with witness.counts(misses=1, hits=2):
            # One that only reads may be long.
            for _ in range(3):
                connection.execute(SEARCH, ("documents", vector, 3))
        with witness.counts(bypasses=1):
            connection.execute("DELETE FROM docs WHERE false")
            connection.execute(SEARCH, ("documents", vector, 3))
        connection.rollback()
        with witness.counts(hits=1):
            connection.execute("SET LOCAL vcache.ttl = '1min'")
            connection.execute(SEARCH, ("documents", vector, 3))


def test_errors():
    with psycopg.connect() as connection:
        with fails(psycopg.errors.UndefinedObject) as raised, connection.transaction():
            connection.execute(SEARCH, ("nothing", random_vector(1), 3))
        assert raised[0].sqlstate == "42704" and '"documents"' in raised[0].diag.message_hint

        with fails(psycopg.DataError) as raised, connection.transaction():
            connection.execute(SEARCH, ("documents", [0.1, 0.2], 3))
        assert raised[0].sqlstate == "22000" and raised[0].diag.message_primary == "expected 8 dimensions, not 2"
        assert raised[0].diag.message_hint

        with fails(psycopg.errors.InvalidParameterValue) as raised, connection.transaction():
            connection.execute(SEARCH, ("documents", random_vector(1), 0))
        assert raised[0].diag.message_hint

        with fails(psycopg.errors.NullValueNotAllowed), connection.transaction():
            connection.execute(SEARCH, ("documents", None, 3))
        # Each was rolled back to its savepoint.
        assert connection.execute(SEARCH, ("documents", random_vector(1), 3)).fetchall() == witness.plain(random_vector(1), 3)


def test_what_to_avoid():
    vector = random_vector(8)
    with psycopg.connect() as connection:
        # A tuple is a row, not an array.
        with fails(psycopg.errors.InvalidTextRepresentation) as raised, connection.transaction():
            connection.execute(SEARCH, ("documents", tuple(vector), 3))
        assert "[0.1, 0.2, 0.3]" in raised[0].diag.message_hint
        # Integers among floats.
        with fails(psycopg.DataError), connection.transaction():
            connection.execute(SEARCH, ("documents", [1] + vector[1:], 3))
        # numpy's integers are bigint; its arrays are unknown without pgvector's adapters.
        with fails(psycopg.errors.UndefinedFunction), connection.transaction():
            connection.execute(SEARCH, ("documents", vector, numpy.int64(3)))
        with fails(psycopg.ProgrammingError), connection.transaction():
            connection.execute(SEARCH, ("documents", numpy.array(vector), 3))


run(globals())
