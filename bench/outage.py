"""Owns the measurements of what Redis' failures cost: a hang, an address that swallows all, a cancel, and an outage under many sessions with the way back."""

import threading
import time
from collections.abc import Callable

import numpy as np
import psycopg

import servers
from servers import BlackHole, Redis
from sources import queries
from ways import Real, RealDumper

# The default of vcache.redis_timeout, in milliseconds.
DEADLINE = 50
DIMENSIONS = 384
VECTORS = 20
SEARCH = "SELECT id, distance, payload FROM vcache_search('docs', %s, 10)"
PAST_CACHE = "SELECT id, distance, payload FROM vcache_search('docs', %s, 10, ttl => '0')"

Connect = Callable[[], psycopg.Connection]


def until_used(connection: psycopg.Connection) -> None:
    while connection.execute("SELECT status FROM vcache_health() WHERE component = 'redis'").fetchone()[0] != "ok":
        time.sleep(0.005)


def milliseconds(connection: psycopg.Connection, statement: str, query: Real) -> float:
    start = time.perf_counter()
    connection.execute(statement, (query,)).fetchall()
    return (time.perf_counter() - start) * 1000


def summary(times: list[float]) -> dict[str, float]:
    return {"p50_ms": float(np.median(times)), "max_ms": max(times)}


def alone(connect: Connect, admin: psycopg.Connection, redis: Redis, vectors: list[Real], rounds: int) -> dict:
    """What one search loses when Redis hangs, on a connection that stands and on one that must be made, and when its address swallows all."""
    connection = connect()
    plain = np.median([milliseconds(connection, PAST_CACHE, vector) for vector in vectors for _ in range(5)])
    added: dict[str, list[float]] = {"connected": [], "new": [], "black_hole": []}
    for number in range(rounds):
        vector = vectors[number % len(vectors)]
        until_used(connection)
        milliseconds(connection, SEARCH, vector)
        with connect() as fresh:
            milliseconds(fresh, PAST_CACHE, vector)
            redis.hang()
            added["connected"].append(milliseconds(connection, SEARCH, vector) - plain)
            added["new"].append(milliseconds(fresh, SEARCH, vector) - plain)
            redis.go_on()
    connection.close()
    hole = BlackHole()
    for number in range(min(rounds, 16)):
        # Another URL each time: the breaker of one would soon be open.
        servers.use(admin, f"redis://127.0.0.1:{hole.port}/{number}")
        with connect() as fresh:
            milliseconds(fresh, PAST_CACHE, vectors[0])
            added["black_hole"].append(milliseconds(fresh, SEARCH, vectors[0]) - plain)
    hole.close()
    servers.use(admin, redis.url)
    return {kind: summary(times) for kind, times in added.items()}


def cancel(connect: Connect, admin: psycopg.Connection, redis: Redis, vector: Real, rounds: int) -> dict:
    """From a cancel to the end of the search, while Redis hangs and would be waited for for a minute."""
    servers.use(admin, redis.url, redis_timeout="1min", redis_connect_timeout="1min")
    times = []
    for _ in range(rounds):
        cancelled = []
        with connect() as connection:
            until_used(connection)
            milliseconds(connection, SEARCH, vector)

            def cancel_it(connection: psycopg.Connection = connection, cancelled: list[float] = cancelled) -> None:
                cancelled.append(time.perf_counter())
                connection.cancel()

            redis.hang()
            thread = threading.Timer(0.1, cancel_it)
            thread.start()
            try:
                milliseconds(connection, SEARCH, vector)
            except psycopg.errors.QueryCanceled:
                times.append((time.perf_counter() - cancelled[0]) * 1000)
            thread.join()
            redis.go_on()
    servers.use(admin, redis.url, redis_timeout="50ms", redis_connect_timeout="100ms")
    return {"cancelled": len(times), "asked_for": rounds, **summary(times)}


def outage(connect: Connect, redis: Redis, vectors: list[Real], sessions: int, seconds: tuple[float, float, float], kind: str) -> dict:
    """All sessions search all the time, with pauses; Redis hangs, or is killed, for a while. Seconds: before, meanwhile, after."""
    connections = [connect() for _ in range(sessions)]
    for number, connection in enumerate(connections):
        milliseconds(connection, SEARCH, vectors[number % len(vectors)])
    watcher = connect()
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

    def count(columns: str) -> int:
        return watcher.execute(f"SELECT sum({columns})::int FROM vcache_stats").fetchone()[0]

    threads = [threading.Thread(target=search, args=(number,)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    before, meanwhile, after = seconds
    time.sleep(before)
    (redis.hang if kind == "hang" else redis.kill)()
    gone = time.perf_counter() - start
    time.sleep(meanwhile)
    unreachable, failures = count("misses_unreachable"), count("redis_timeouts + redis_errors")
    # A Redis that was killed is empty: it is in use again when something is stored.
    use = "redis_hits" if kind == "hang" else "stores"
    uses = count(use)
    (redis.go_on if kind == "hang" else redis.start)()
    back = time.perf_counter() - start
    while count(use) <= uses:
        time.sleep(0.005)
    recovered = time.perf_counter() - start
    time.sleep(after)
    ended.set()
    for thread in threads:
        thread.join()
    for connection in (*connections, watcher):
        connection.close()
    points = sorted(point for session in searches for point in session)
    waited = [(at, time) for at, time in points if gone <= at + time / 1000 and at < back and time >= DEADLINE]
    # Those that were on their way when nobody knew yet.
    first = [time for at, time in waited if at < gone + 2 * DEADLINE / 1000]
    return {
        "kind": kind,
        "sessions": sessions,
        "searches": len(points),
        "failed": len(failed),
        "gone_s": gone,
        "back_s": back,
        "asked_in_vain": failures,
        "searches_without_redis": unreachable,
        "waited_at_first": len(first),
        "waited_later": len(waited) - len(first),
        "waited_together_ms": sum(time for _, time in waited),
        "recovered_after_s": recovered - back,
        "points": points,
    }


def measure(admin: psycopg.Connection, connect: Connect, quick: bool, say: Callable[[str], None]) -> dict:
    """All of it, on connections to a database that has the namespace ``docs``."""

    def session() -> psycopg.Connection:
        connection = connect()
        connection.adapters.register_dumper(Real, RealDumper)
        return connection

    vectors = [Real(query) for query in queries(DIMENSIONS, VECTORS, seed=5)]
    with servers.own(admin, Redis) as (redis,):
        servers.use(admin, redis.url)
        say("a search while Redis hangs")
        lost = alone(session, admin, redis, vectors, 5 if quick else 50)
        say("a cancel while Redis hangs")
        cancelled = cancel(session, admin, redis, vectors[0], 3 if quick else 30)
        outages = []
        sessions, seconds = (20, (1, 2, 2)) if quick else (500, (10, 30, 10))
        for kind in ("hang", "kill"):
            say(f"an outage under {sessions} sessions: {kind}")
            outages.append(outage(session, redis, vectors, sessions, seconds, kind))
    return {"lost": lost, "cancel": cancelled, "outages": outages}
