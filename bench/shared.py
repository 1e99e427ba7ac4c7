"""Owns the measurements of tier 1: hits from shared memory, misses that store in both tiers, what entries take, and how either tier does with many of them."""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import psycopg
import redis

from sources import Source

DIMENSIONS = 1536
# Of a payload of 384 bytes as text.
NOTE = "a note of words that say nothing. " * 10 + "1234567890123456789012345678"
FEW, MANY = 1_000, 1_000_000
# The tables of the engines: a name, a title, the extension and its type.
ENGINES = [("ruvector", "RuVector, HNSW", "ruvector"), ("pgvector", "pgvector, HNSW", "vector")]


def measure(arguments: argparse.Namespace, source: Callable[[str, str, str], AbstractContextManager[Source]], say: Callable[[str], None]) -> dict:
    """All of it. ``source`` makes a table of an engine."""
    quick = arguments.quick

    def client(made: Source, *words: object) -> dict:
        command = [arguments.hit, arguments.host, arguments.port, made.key, DIMENSIONS, *words]
        return json.loads(subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout)

    results: dict = {"hits": [], "misses": []}
    for name, title, kind in ENGINES:
        say(f"making {title}")
        with source(name, title, kind) as made:
            made.connection.execute(f"ALTER TABLE docs ADD COLUMN note text DEFAULT '{NOTE}'")
            made.connection.execute(
                "SELECT vcache_create_namespace('shared', 'docs', 'embedding', metric => 'cosine', payload_columns => '{note}', ttl => '1 hour')"
            )
            say("  hits")
            results["hits"].append({"title": title, **client(made, "shared", kind, 300 if quick else 10_000)})
            say("  misses")
            results["misses"].append({"title": title, **client(made, "misses", kind, 50 if quick else 1_000)})
            if kind == "vector":
                say("  many clients")
                results["scaling"] = client(made, "scaling", kind, 1 if quick else 7, 0.5 if quick else 2)
                say("what an entry takes")
                results["size"] = size(made.connection, quick)
                say("many entries")
                results["growth"] = growth(made.connection, arguments.redis, 10_000 if quick else MANY)
    return results


def tiny(connection: psycopg.Connection, name: str, columns: str, fetch_k: int) -> None:
    """A table of 30 rows, and its namespace: the engine takes next to nothing."""
    connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, note text, embedding vector(3))")
    connection.execute(f"INSERT INTO {name} SELECT i, repeat('n', 380), format('[%s,1,2]', i)::vector FROM generate_series(1, 30) i")
    connection.execute(
        "SELECT vcache_create_namespace(%s, %s, 'embedding', metric => 'l2', payload_columns => %s, fetch_k => %s, ttl => '1 day')",
        (name, name, columns, fetch_k),
    )


def fill(connection: psycopg.Connection, name: str, count: int, start: int = 0) -> None:
    """As many searches, each of another vector; ``start`` of them have been before."""
    connection.execute(
        f"SELECT count(*) FROM generate_series({start + 1}, {start + count}) i, LATERAL vcache_search('{name}', ARRAY[i, 1, 1]::real[], 1) s"
    )


def size(connection: psycopg.Connection, quick: bool) -> dict:
    """Bytes of shared memory for each entry of 4 kB or so, beyond its own, when all of it is taken."""
    tiny(connection, "sized", "{note}", 10)
    megabytes = connection.execute("SELECT setting::int / 1024 FROM pg_settings WHERE name = 'vcache.shared_memory_size'").fetchone()[0]
    connection.execute("SELECT vcache_flush()")
    before = connection.execute("SELECT evictions FROM vcache_stats_total").fetchone()[0]
    filled = 0
    while not quick or filled < 2_000:
        fill(connection, "sized", 2_000, filled)
        filled += 2_000
        if connection.execute("SELECT evictions FROM vcache_stats_total").fetchone()[0] > before + 2_000:
            break
    entries, taken = connection.execute("SELECT count(*), sum(bytes)::bigint FROM vcache_entries").fetchone()
    result = {"megabytes": megabytes, "entries": entries, "bytes": taken / entries, "overhead": (megabytes * 2**20 - taken) / entries}
    connection.execute("SELECT vcache_flush()")
    connection.execute("SELECT vcache_drop_namespace('sized')")
    return result


def growth(connection: psycopg.Connection, redis_path: str, many: int) -> dict:
    """A hit among many entries over one among few; the same of a GET of Redis'. Small entries, in random order."""
    tiny(connection, "grown", "{}", 1)
    store = redis.Redis(unix_socket_path=redis_path)
    result = {}
    for name, count in (("few", FEW), ("many", many)):
        fill(connection, "grown", count)
        entries, misses = connection.execute("SELECT count(*) FROM vcache_entries").fetchone()[0], "SELECT sum(misses) FROM vcache_stats"
        before = connection.execute(misses).fetchone()[0]
        times = []
        for _ in range(20):
            start = time.perf_counter()
            connection.execute(
                "SELECT count(*) FROM (SELECT 1 + floor(random() * %s)::int AS i FROM generate_series(1, 1000)) r, "
                "LATERAL vcache_search('grown', ARRAY[r.i, 1, 1]::real[], 1) s",
                (count,),
            )
            times.append((time.perf_counter() - start) * 1000)
        keys = [store.randomkey() for _ in range(1_000)]
        gets = []
        for key in keys:
            start = time.perf_counter()
            store.get(key)
            gets.append((time.perf_counter() - start) * 1e6)
        result[name] = {
            "asked": count,
            "entries": entries,
            "missed": int(connection.execute(misses).fetchone()[0] - before),
            "hit_us": float(np.median(times)),
            "get_us": float(np.median(gets)),
        }
    connection.execute("SELECT vcache_drop_namespace('grown')")
    result["shared"] = result["many"]["hit_us"] / result["few"]["hit_us"]
    result["redis"] = result["many"]["get_us"] / result["few"]["get_us"]
    return result
