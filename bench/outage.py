"""Owns the measurements of what Redis' failures cost: a hang, an outage under many sessions, the way back, a cancel; and of a hit over its floor."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import psycopg

from sources import Source, queries
from ways import Real, RealDumper

# The defaults of vcache.redis_timeout and vcache.redis_connect_timeout, in milliseconds.
DEADLINE, CONNECT_DEADLINE = 50, 100
DIMENSIONS = 384
VECTORS = 20
SEARCH = "SELECT id, distance, payload FROM vcache_search('docs', %s, 10)"
PAST_CACHE = "SELECT id, distance, payload FROM vcache_search('docs', %s, 10, ttl => '0')"

Connect = Callable[[str], psycopg.Connection]


class Redis:
    """A Redis of the measurement's own: it is stopped, killed and started again."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.socket = f"{directory}/redis.sock"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket, "--unixsocketperm", "777"]
        command += ["--dir", self._directory, "--save", "", "--appendonly", "no", "--maxclients", "10000"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.1).close()
                return
            except OSError:
                time.sleep(0.002)

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def own_redis(admin: psycopg.Connection) -> Iterator[Redis]:
    """A Redis that the server uses meanwhile."""
    with tempfile.TemporaryDirectory(prefix="vcache-outage.") as directory:
        os.chmod(directory, 0o755)
        redis = Redis(directory)
        try:
            use(admin, redis.url)
            yield redis
        finally:
            redis.kill()
            admin.execute("ALTER SYSTEM RESET ALL")
            admin.execute("SELECT pg_reload_conf()")


def use(admin: psycopg.Connection, url: str) -> None:
    """Sets the URL in the server. Sessions that begin after it has been told have it."""
    admin.execute(f"ALTER SYSTEM SET vcache.redis_url = '{url}'")
    admin.execute("SELECT pg_reload_conf()")
    while admin.execute("SHOW vcache.redis_url").fetchone()[0] != url:
        time.sleep(0.01)


def until_used(connection: psycopg.Connection) -> None:
    while connection.execute("SELECT status FROM vcache_health() WHERE component = 'redis'").fetchone()[0] != "ok":
        time.sleep(0.005)


def milliseconds(connection: psycopg.Connection, statement: str, query: Real) -> float:
    start = time.perf_counter()
    connection.execute(statement, (query,)).fetchall()
    return (time.perf_counter() - start) * 1000


def hang(connect: Callable[[], psycopg.Connection], redis: Redis, vectors: list[Real], rounds: int) -> dict:
    """What one search loses when Redis hangs: on a connection that stands, and on one that must be made."""
    connection = connect()
    plain = np.median([milliseconds(connection, PAST_CACHE, vector) for vector in vectors for _ in range(5)])
    added: dict[str, list[float]] = {"connected": [], "new": []}
    for number in range(rounds):
        vector = vectors[number % len(vectors)]
        until_used(connection)
        milliseconds(connection, SEARCH, vector)
        fresh = connect()
        milliseconds(fresh, PAST_CACHE, vector)
        redis.hang()
        added["connected"].append(milliseconds(connection, SEARCH, vector) - plain)
        added["new"].append(milliseconds(fresh, SEARCH, vector) - plain)
        redis.go_on()
        fresh.close()
    return {kind: {"p50_ms": float(np.median(times)), "max_ms": max(times)} for kind, times in added.items()}


def cancel(connect: Callable[[], psycopg.Connection], admin: psycopg.Connection, redis: Redis, vector: Real, rounds: int) -> dict:
    """From a cancel to the end of the search, while Redis hangs and would be waited for for a minute."""
    for setting in ("redis_timeout", "redis_connect_timeout"):
        admin.execute(f"ALTER SYSTEM SET vcache.{setting} = '60s'")
    admin.execute("SELECT pg_reload_conf()")
    time.sleep(0.5)
    times = []
    for _ in range(rounds):
        connection = connect()
        until_used(connection)
        milliseconds(connection, SEARCH, vector)
        redis.hang()
        cancelled = []

        def cancel_it(connection: psycopg.Connection = connection, cancelled: list[float] = cancelled) -> None:
            time.sleep(0.1)
            cancelled.append(time.perf_counter())
            connection.cancel()

        thread = threading.Thread(target=cancel_it)
        thread.start()
        try:
            milliseconds(connection, SEARCH, vector)
        except psycopg.errors.QueryCanceled:
            times.append((time.perf_counter() - cancelled[0]) * 1000)
        thread.join()
        redis.go_on()
        connection.close()
    for setting in ("redis_timeout", "redis_connect_timeout"):
        admin.execute(f"ALTER SYSTEM RESET vcache.{setting}")
    admin.execute("SELECT pg_reload_conf()")
    time.sleep(0.5)
    return {"p50_ms": float(np.median(times)), "max_ms": max(times)}


def outage(connect: Callable[[], psycopg.Connection], redis: Redis, vectors: list[Real], sessions: int, seconds: tuple[float, float, float], kind: str) -> dict:
    """All sessions search all the time, with pauses; Redis hangs, or is killed, for a while. Seconds: before, meanwhile, after."""
    connections = [connect() for _ in range(sessions)]
    for number, connection in enumerate(connections):
        milliseconds(connection, SEARCH, vectors[number % len(vectors)])
    watcher = connect()
    count = "SELECT sum(redis_hits)::int, sum(misses_unreachable)::int, sum(redis_timeouts + redis_errors)::int FROM vcache_stats"
    watcher.execute("SELECT vcache_stats_reset()")
    start, ended = time.perf_counter(), threading.Event()
    # Some 200 searches a second, whatever the number of sessions: less than two cores can do without Redis.
    pause = sessions / 200
    searches: list[list[tuple[float, float]]] = [[] for _ in range(sessions)]
    failed: list[str] = []

    def search(number: int) -> None:
        generator = np.random.default_rng(number)
        ended.wait(generator.uniform(0, pause))
        while not ended.is_set():
            vector = vectors[generator.integers(len(vectors))]
            at = time.perf_counter() - start
            try:
                searches[number].append((at, milliseconds(connections[number], SEARCH, vector)))
            except psycopg.Error as error:
                failed.append(str(error))
            ended.wait(generator.uniform(0, 2 * pause))

    threads = [threading.Thread(target=search, args=(number,)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    before, meanwhile, after = seconds
    time.sleep(before)
    (redis.hang if kind == "hang" else redis.kill)()
    gone = time.perf_counter() - start
    time.sleep(meanwhile)
    hits, unreachable, failures = watcher.execute(count).fetchone()
    (redis.go_on if kind == "hang" else redis.start)()
    back = time.perf_counter() - start
    if kind == "kill":
        # It is empty: what is searched for next is stored, and then found.
        hits = watcher.execute("SELECT sum(stores)::int FROM vcache_stats").fetchone()[0]
        count = count.replace("redis_hits", "stores")
    while watcher.execute(count).fetchone()[0] <= hits:
        time.sleep(0.005)
    recovered = time.perf_counter() - start
    time.sleep(after)
    ended.set()
    for thread in threads:
        thread.join()
    for connection in (*connections, watcher):
        connection.close()
    points = sorted(point for session in searches for point in session)
    lost = [time for at, time in points if gone <= at < back and time >= DEADLINE]
    return {
        "kind": kind,
        "sessions": sessions,
        "searches": len(points),
        "failed": len(failed),
        "gone_s": gone,
        "back_s": back,
        "asked_in_vain": failures,
        "searches_without_redis": unreachable,
        "searches_that_lost_a_deadline": len(lost),
        "lost_together_ms": sum(lost),
        "recovered_after_s": recovered - back,
        "points": points,
    }


def floor(arguments: object, admin: psycopg.Connection, redis: Redis, source: Callable[[int], Source], count: int) -> list[dict]:
    """A hit over its floor, by a client of its own, over unix sockets."""
    use(admin, f"redis+unix://{redis.socket}")
    rows = []
    for dimensions in (DIMENSIONS, 1536):
        made = source(dimensions)
        made.connection.close()
        command = [arguments.floor, arguments.host, arguments.port, made.key, redis.socket, str(dimensions), str(count)]
        measured = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append({"dimensions": dimensions, **json.loads(measured)})
    use(admin, redis.url)
    return rows


def measure(arguments: object, connect: Connect, say: Callable[[str], None]) -> dict:
    """All of it."""
    quick = arguments.quick
    admin = connect("postgres")

    def source(dimensions: int) -> Source:
        name = f"outage_{dimensions}"
        admin.execute(f"CREATE DATABASE {name}")
        made = Source(name, f"pgvector, HNSW, {dimensions} dimensions", "vector", "vector", dimensions, True, connect(name))
        made.create(0, 1_000 if quick else 10_000)
        return made

    def session() -> psycopg.Connection:
        connection = connect(f"outage_{DIMENSIONS}")
        connection.adapters.register_dumper(Real, RealDumper)
        return connection

    vectors = [Real(query) for query in queries(DIMENSIONS, VECTORS, seed=5)]
    with own_redis(admin) as redis:
        say("a hit over its floor")
        floors = floor(arguments, admin, redis, source, 500 if quick else 20_000)
        say("a search while Redis hangs")
        hung = hang(session, redis, vectors, 5 if quick else 50)
        say("a cancel while Redis hangs")
        cancelled = cancel(session, admin, redis, vectors[0], 3 if quick else 30)
        outages = []
        sessions, seconds = (20, (1, 2, 2)) if quick else (500, (10, 30, 10))
        for kind in ("hang", "kill"):
            say(f"an outage under {sessions} sessions: {kind}")
            outages.append(outage(session, redis, vectors, sessions, seconds, kind))
    for dimensions in (DIMENSIONS, 1536):
        admin.execute(f"DROP DATABASE outage_{dimensions}")
    return {"floor": floors, "hang": hung, "cancel": cancelled, "outages": outages}
