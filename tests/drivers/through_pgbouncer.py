"""Through pgbouncer in transaction mode: clients share one connection of the server, and meet each other's session state."""

import sys

import asyncpg
import psycopg

from witness import Witness, fails, random_vector, run

SEARCH = "SELECT id, distance, payload FROM vcache_search(%s, %s, %s)"
RESETS = sys.argv[1] == "resets"  # DISCARD ALL after every transaction
witness = Witness()


def connect(**options):
    return psycopg.connect(prepare_threshold=None, autocommit=True, **options)


def test_clients_share_a_connection():
    vector = random_vector(1)
    with witness.counts(misses=1, hits=19), connect() as one, connect() as other:
        processes = set()
        for _ in range(10):
            for connection in [one, other]:
                assert connection.execute(SEARCH, ("documents", vector, 5)).fetchall() == witness.plain(vector, 5)
                processes.add(connection.execute("SELECT pg_backend_pid()").fetchone())
        assert len(processes) == 1


def test_settings_of_a_transaction():
    vector = random_vector(2)
    lifetime = "SELECT outcome, expires_in > '30 min' FROM vcache_explain('documents', %s)"
    with connect() as one, connect() as other:
        with witness.counts(misses=1), one.transaction():
            one.execute("SET LOCAL vcache.ttl = '1h'")
            one.execute(SEARCH, ("documents", vector, 5))
        assert other.execute("SHOW vcache.ttl").fetchone() == ("5min",)
        assert other.execute(lifetime, (vector,)).fetchone() == ("hit", True)
        with witness.counts(bypasses=1, hits=1):
            with one.transaction():
                one.execute("SET LOCAL vcache.enabled = off")
                one.execute(SEARCH, ("documents", vector, 5))
            other.execute(SEARCH, ("documents", vector, 5))


def test_settings_of_a_session_reach_the_others():
    with connect() as one, connect() as other:
        one.execute("SET vcache.ttl = '2h'")
        assert other.execute("SHOW vcache.ttl").fetchone() == ("5min" if RESETS else "2h",)
        other.execute("RESET vcache.ttl")


def test_transactions_that_write():
    vector = random_vector(3)
    with connect() as one, connect() as other:
        one.execute(SEARCH, ("documents", vector, 5))
        with witness.counts(bypasses=1, hits=1):
            with one.transaction(force_rollback=True):
                one.execute("DELETE FROM docs WHERE id = %s", (witness.plain(vector, 1)[0][0],))
                assert one.execute(SEARCH, ("documents", vector, 5)).fetchall() != witness.plain(vector, 5)
            assert other.execute(SEARCH, ("documents", vector, 5)).fetchall() == witness.plain(vector, 5)


def test_errors_and_pipelines():
    vectors = [random_vector(10 + number) for number in range(3)]
    with connect() as one, connect() as other:
        with fails(psycopg.errors.UndefinedObject) as raised:
            one.execute(SEARCH, ("nothing", vectors[0], 5))
        assert '"documents"' in raised[0].diag.message_hint
        for connection, counts in [(one, {"misses": 3}), (other, {"hits": 3})]:
            with witness.counts(**counts), connection.pipeline():
                cursors = [connection.execute(SEARCH, ("documents", vector, 5)) for vector in vectors]
                for vector, cursor in zip(vectors, cursors):
                    assert cursor.fetchall() == witness.plain(vector, 5)


def test_clients_come_and_go():
    vector = random_vector(4)
    with witness.counts(misses=1, hits=9):
        for _ in range(10):
            with psycopg.connect(prepare_threshold=None) as connection:
                assert connection.execute(SEARCH, ("documents", vector, 5)).fetchall() == witness.plain(vector, 5)


async def test_asyncpg():
    vector = random_vector(5)
    options = {"statement_cache_size": 0}
    one, other = await asyncpg.connect(**options), await asyncpg.connect(**options)
    with witness.counts(misses=1, hits=9):
        for _ in range(5):
            for connection in [one, other]:
                rows = await connection.fetch("SELECT id FROM vcache_search($1, $2::real[], 5)", "documents", vector)
                assert [row["id"] for row in rows] == [row[0] for row in witness.plain(vector, 5)]
    await one.close()
    await other.close()


def test_prepared_statements_are_the_sessions():
    # pgbouncer keeps track of them since 1.21, and psycopg makes use of that with libpq 17.
    with psycopg.connect(autocommit=True, prepare_threshold=0) as one, psycopg.connect(autocommit=True, prepare_threshold=0) as other:
        with fails(psycopg.Error) as raised:
            for _ in range(2):
                for connection in [one, other]:
                    connection.execute(SEARCH, ("documents", random_vector(1), 5))
        assert raised[0].sqlstate == ("26000" if RESETS else "42P05"), raised[0]


run(globals())
