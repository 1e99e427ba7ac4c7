#!/usr/bin/env python3
"""How an application searches through vcache: psycopg 3 alone, and no cache of its own.

    pip install 'psycopg[binary]'
    PGHOST=… PGDATABASE=… python3 examples/cache_integration_example.py

It makes a table ``articles`` of 1,000 random vectors, which it removes at its end, unless there is one.
"""

import logging
import random
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg.types.json import Jsonb

log = logging.getLogger("search")

LOW_HIT_RATE = 0.5
DIMENSIONS = 64


@dataclass(frozen=True)
class Hit:
    """One row of an answer."""

    id: str
    distance: float
    payload: dict | None


class Search:
    """Searches over one connection of psycopg's."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def search_vectors(
        self, namespace: str, vector: list[float], top_k: int = 10, filter: dict | None = None, ttl: timedelta | None = None
    ) -> list[Hit]:
        """The ``top_k`` rows nearest to ``vector`` that fulfil ``filter``, such as ``{"lang": "en"}``, nearest first.

        ``ttl`` is the oldest answer that this call accepts, and how long what it stores lives; ``timedelta(0)`` asks the engine.
        Without it the namespace's or the server's holds. Raises ``psycopg.Error``, with a hint in ``error.diag.message_hint``.
        """
        # Text is what every driver can send. For vectors of a thousand dimensions see docs/usage.md, which has a faster way.
        statement = "SELECT id, distance, payload FROM vcache_search(%s, %s, %s, %s, %s)"
        conditions = None if filter is None else Jsonb(filter)
        rows = self._connection.execute(statement, (namespace, str(vector), top_k, conditions, ttl))
        return [Hit(*row) for row in rows]

    def log_statistics(self, namespace: str) -> None:
        """Logs how the cache does, and warns when it hits less than it should."""
        statement = "SELECT lookups, shared_hits + redis_hits, misses, bypasses, hit_rate FROM vcache_stats WHERE namespace = %s"
        row = self._connection.execute(statement, (namespace,)).fetchone()
        if row is None or not row[0]:
            log.info("%s: no search yet", namespace)
            return
        lookups, hits, misses, bypasses, hit_rate = row
        log.info("%s: %d lookups, %d hits, %d misses, %d bypasses, hit rate %.1f %%", namespace, lookups, hits, misses, bypasses, 100 * hit_rate)
        if hit_rate < LOW_HIT_RATE:
            log.warning("%s: hit rate below %.0f %%: see \"Low hit rate\" in the README", namespace, 100 * LOW_HIT_RATE)


@contextmanager
def articles(connection: psycopg.Connection, vectors: list[list[float]]):
    """A table to search, registered as the namespace ``articles``."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS ruvector")
    connection.execute("CREATE EXTENSION IF NOT EXISTS vcache")
    connection.execute(f"CREATE TABLE articles (id bigint PRIMARY KEY, title text, embedding ruvector({DIMENSIONS}))")
    with connection.cursor() as cursor:
        rows = [(number, f"article {number}", str(vector)) for number, vector in enumerate(vectors)]
        cursor.executemany("INSERT INTO articles VALUES (%s, %s, %s::ruvector)", rows)
    connection.execute(
        "SELECT vcache_create_namespace('articles', 'articles', 'embedding', metric => 'cosine', payload_columns => '{title}')"
    )
    try:
        yield
    finally:
        connection.execute("SELECT vcache_drop_namespace('articles')")
        connection.execute("DROP TABLE articles")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
    draw = random.Random(1)
    vectors = [[draw.gauss(0, 1) for _ in range(DIMENSIONS)] for _ in range(1000)]
    # Each search in a transaction of its own: one that has written asks the engine.
    with psycopg.connect(autocommit=True) as connection, articles(connection, vectors):
        search = Search(connection)
        for hit in search.search_vectors("articles", vectors[7], top_k=3):
            log.info("article %s at %.3f: %s", hit.id, hit.distance, hit.payload)
        search.log_statistics("articles")  # one miss: the warning
        for number in range(50):
            search.search_vectors("articles", vectors[number % 5], top_k=10)
        # No older than ten seconds; and not from the cache at all.
        search.search_vectors("articles", vectors[7], ttl=timedelta(seconds=10))
        search.search_vectors("articles", vectors[7], ttl=timedelta(0))
        search.log_statistics("articles")


if __name__ == "__main__":
    main()
