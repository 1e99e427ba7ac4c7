"""Owns the three ways to answer a query: the engine, vcache, and a cache written by hand in Python.

Each gets the query as an application has it, a list of Python floats, and gives rows that begin with id and distance.
"""

import hashlib
import json

import numpy as np
import psycopg
import redis
from psycopg.adapt import Dumper
from psycopg.pq import Format

TOP_K = 10
TTL = 3600


class Real:
    """A vector for vcache, sent as ``real[]``: what docs/usage.md recommends for long ones."""

    def __init__(self, elements: list[float]) -> None:
        self.elements = np.asarray(elements, dtype=">f4")


class RealDumper(Dumper):
    """Writes a :class:`Real` in PostgreSQL's binary form: one dimension, no NULLs, elements of type real, from 1."""

    format = Format.BINARY
    oid = psycopg.adapters.types["float4"].array_oid
    _element = np.dtype([("length", ">i4"), ("value", ">f4")])

    def dump(self, obj: Real) -> bytes:
        elements = np.empty(obj.elements.size, self._element)
        elements["length"] = 4
        elements["value"] = obj.elements
        return np.array([1, 0, 700, obj.elements.size, 1], ">i4").tobytes() + elements.tobytes()


class Engine:
    """The plain query, with the vector as text, which is what psycopg's users send when no adapter is loaded."""

    def __init__(self, connection: psycopg.Connection, kind: str) -> None:
        self._connection = connection
        self._statement = (
            f"SELECT id, embedding <=> %s AS distance, title, body FROM docs ORDER BY distance LIMIT {TOP_K}"
        ).replace("%s", f"%s::{kind}")

    def search(self, query: list[float]) -> list[tuple]:
        return self._connection.execute(self._statement, (str(query),)).fetchall()


class Vcache:
    """``vcache_search``, with the vector as ``real[]`` in binary, which docs/usage.md recommends."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        connection.adapters.register_dumper(Real, RealDumper)

    def search(self, query: list[float]) -> list[tuple]:
        statement = f"SELECT id, distance, payload FROM vcache_search('docs', %s, {TOP_K})"
        return self._connection.execute(statement, (Real(query),)).fetchall()

    def search_by_text(self, query: list[float]) -> list[tuple]:
        statement = f"SELECT id, distance, payload FROM vcache_search('docs', %s, {TOP_K})"
        return self._connection.execute(statement, (str(query),)).fetchall()

    def counts(self) -> tuple[int, int]:
        """Hits and lookups since the last reset."""
        return self._connection.execute("SELECT coalesce(sum(shared_hits + redis_hits), 0)::int, coalesce(sum(lookups), 0)::int FROM vcache_stats").fetchone()


class ByHand:
    """What people write today: redis-py in front of psycopg, JSON values, a hash of the JSON of the query as key."""

    prefix = "search:"

    def __init__(self, engine: Engine, redis_path: str) -> None:
        self._engine = engine
        self._redis = redis.Redis(unix_socket_path=redis_path)
        self.hits = self.lookups = 0

    def search(self, query: list[float]) -> list[tuple]:
        key = self.prefix + hashlib.sha256(json.dumps(["docs", query, TOP_K]).encode()).hexdigest()
        self.lookups += 1
        value = self._redis.get(key)
        if value is not None:
            self.hits += 1
            return json.loads(value)
        rows = self._engine.search(query)
        self._redis.set(key, json.dumps(rows), ex=TTL)
        return rows
