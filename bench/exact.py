"""Owns the measurements of exact freshness: what it costs a search, what it costs writers, what its clock takes, and how many searches are hits while rows change."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg

from sources import queries
from streams import zipf

DIMENSIONS = 384
WRITERS = 8
SLOTS = 8
WRITES = 100_000
TENANTS = 20
RATES = [0, 0.1, 1, 10]
# Searches a second in the stream that rows change under.
PACE = 100

Connect = Callable[[], psycopg.Connection]

TABLES = ["plain", "guarded", "divided"]
# The smallest write that there is: a row and its primary key.
INSERT = "INSERT INTO {table} (tenant, title, embedding) VALUES (:tenant, 'a title', '{vector}')"
# What goes on at a source at once, with weights: in all isolation levels, and with what is rolled back.
MIXED = [
    (6, "{insert};"),
    (3, "UPDATE {table} SET embedding = embedding WHERE id = (SELECT max(id) - :tenant FROM {table});"),
    (3, "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT 2);"),
    (1, "BEGIN ISOLATION LEVEL REPEATABLE READ; {insert}; COMMIT;"),
    (1, "BEGIN ISOLATION LEVEL SERIALIZABLE; {insert}; COMMIT;"),
    (1, "BEGIN; SAVEPOINT s; {insert}; ROLLBACK TO s; {insert}; ROLLBACK;"),
]


def measure(programs: str, connect: Connect, admin: psycopg.Connection, quick: bool, say: Callable[[str], None]) -> dict:
    """All of it, in the database that ``connect`` is to; ``programs`` is the directory of pgbench."""
    with everywhere(admin), connect() as connection:
        bench = Bench(programs, connection.info)
        make_tables(connection)
        result = {}
        say("what its clock takes")
        result["size"] = size(connection, admin, bench, 5 if quick else 300)
        say("hits while rows change")
        result["hits"] = [hits(connect, rate, 3 if quick else 40) for rate in ([0, 10] if quick else RATES)]
        say("what freshness costs a search")
        result["clock"] = clock(connect, bench, 20 if quick else 200, WRITES // 50 if quick else WRITES)
        say("what it costs writers")
        result["writes"] = writes(connection, admin, bench, 2 if quick else 12, 1 if quick else 2)
        say("what it costs a COPY")
        result["copy"] = copy(connection, 2 if quick else 9, 5_000 if quick else 100_000)
    return result


@contextmanager
def everywhere(admin: psycopg.Connection) -> Iterator[None]:
    """Has the server and this process run on all processors: writers that wait for each other would not show on one."""
    server = int(Path(f"/proc/{admin.info.backend_pid}/stat").read_text().rpartition(")")[2].split()[1])
    before = {pid: os.sched_getaffinity(pid) for pid in (0, server)}
    for pid in before:
        os.sched_setaffinity(pid, range(os.cpu_count()))
    yield
    for pid, processors in before.items():
        os.sched_setaffinity(pid, processors)


class Bench:
    """pgbench, on the server and in the database of a connection."""

    def __init__(self, programs: str, to: psycopg.ConnectionInfo) -> None:
        self._command = [f"{programs}/pgbench", "-h", to.host, "-p", str(to.port), "-U", to.user, to.dbname, "-n", "-M", "prepared", "--max-tries", "100"]

    def run(self, table: str, scripts: list[tuple[int, str]], clients: int, *much: str) -> float:
        """Transactions a second of these scripts with their weights: by ``much`` of pgbench's options."""
        insert = INSERT.format(table=table, vector=vector(0))
        with tempfile.TemporaryDirectory(prefix="vcache-bench.") as directory:
            command = [*self._command, "-c", str(clients), "-j", str(min(clients, os.cpu_count())), *much]
            for number, (weight, script) in enumerate(scripts):
                file = Path(directory) / f"{number}.sql"
                statements = script.format(table=table, insert=insert).replace("; ", ";\n")
                file.write_text(f"\\set tenant random(1, {TENANTS})\n{statements}\n", encoding="ascii")
                command += ["-f", f"{file}@{weight}"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return next(float(line.split()[2]) for line in done.stdout.splitlines() if line.startswith("tps"))


def make_tables(connection: psycopg.Connection) -> None:
    """Tables that differ in what vcache has on them: nothing, a namespace, one for each tenant."""
    for table in TABLES:
        columns = f"id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant int, title text, embedding vector({DIMENSIONS})"
        connection.execute(f"CREATE TABLE {table} ({columns})")
    connection.execute("SELECT vcache_create_namespace('guarded', 'guarded', 'embedding', metric => 'cosine')")
    connection.execute("SELECT vcache_create_namespace('of/*', 'divided', 'embedding', metric => 'cosine', namespace_column => 'tenant')")


def clock(connect: Connect, bench: Bench, rounds: int, count: int) -> dict:
    """The processor time that the version of its source adds to a hit: exact freshness over 'ttl', on one table, in turn."""
    with connect() as connection, connect() as old:
        run = connection.execute
        run("INSERT INTO guarded (title, embedding) SELECT title, embedding FROM docs LIMIT 1000")
        run("SELECT vcache_create_namespace('ttl', 'guarded', 'embedding', metric => 'cosine', freshness => 'ttl')")
        # More writers at a time than there are slots.
        bench.run("guarded", [(1, "BEGIN; {insert}; SELECT pg_sleep(0.02); COMMIT;")], 4 * SLOTS, "-t", "10")
        bench.run("guarded", [(1, "{insert};")], 1, "-t", "100")
        result = {"slots": slots(connection)[0], "settled": added(connection, rounds)}
        # A transaction that stays open keeps every version of the clock's rows.
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM guarded")
        bench.run("guarded", [(1, "{insert};")], SLOTS, "-t", str(count // SLOTS))
        result |= {"writes": count, "kept_open": added(connection, rounds)}
        result["kept_open_vs_settled"] = result["kept_open"]["added_us"] / result["settled"]["added_us"]
        old.execute("ROLLBACK")
        run("SELECT vcache_drop_namespace('ttl')")
        run("TRUNCATE guarded")
    return result


def slots(connection: psycopg.Connection) -> tuple[int, int]:
    """The rows of the clock of ``guarded``, and the bytes of the table and index of all."""
    statement = "SELECT slots, pg_total_relation_size('vcache_source_clock') FROM vcache_sources WHERE source = 'guarded'::regclass"
    return connection.execute(statement).fetchone()


def vector(number: int) -> str:
    return str(queries(DIMENSIONS, number + 1, 5)[number])


def processor_time(pid: int) -> float:
    """In microseconds: what the process has run for."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1000


def added(connection: psycopg.Connection, rounds: int) -> dict[str, float]:
    """Medians of the processor time of a hit with either freshness, and of what the one adds."""
    searches, pid = 200, connection.info.backend_pid
    statement = "SELECT count(*) FROM generate_series(1, {}) i, LATERAL vcache_search('{}', '{}', 10 + 0 * i) s"
    ways = {"exact": statement.format(searches, "guarded", vector(0)), "ttl": statement.format(searches, "ttl", vector(0))}
    for freshness, namespace in (("exact", "guarded"), ("ttl", "ttl")):
        connection.execute(ways[freshness])
        outcome = connection.execute("SELECT outcome FROM vcache_explain(%s, %s::text, 10)", (namespace, vector(0))).fetchone()[0]
        if outcome != "hit":
            raise RuntimeError(f"with freshness {freshness} the search is no hit but {outcome}")
    times: dict[str, list[float]] = {freshness: [] for freshness in ways}
    for number in range(rounds):
        for freshness in sorted(ways, reverse=bool(number % 2)):
            before = processor_time(pid)
            connection.execute(ways[freshness])
            times[freshness].append((processor_time(pid) - before) / searches)
    exact, ttl = np.asarray(times["exact"]), np.asarray(times["ttl"])
    return {"exact_us": float(np.median(exact)), "ttl_us": float(np.median(ttl)), "added_us": float(np.median(exact - ttl))}


def in_turn(number: int) -> list[str]:
    """The tables; who is first changes from round to round."""
    turn = number % len(TABLES)
    return TABLES[turn:] + TABLES[:turn]


def over_plain(measured: dict[str, list[float]]) -> dict[str, float]:
    plain = np.asarray(measured["plain"])
    return {f"{table}_vs_plain": float(np.median(np.asarray(measured[table]) / plain)) for table in TABLES[1:]}


def writes(connection: psycopg.Connection, admin: psycopg.Connection, bench: Bench, rounds: int, seconds: int) -> list[dict]:
    """Single-row INSERTs a second with vcache's triggers and without, in turn."""
    measured = []
    for clients, synchronous in ((1, "on"), (1, "off"), (WRITERS, "on"), (WRITERS, "off")):
        with changed(admin, fsync="on", synchronous_commit=synchronous):
            rates: dict[str, list[float]] = {table: [] for table in TABLES}
            for number in range(rounds):
                for table in in_turn(number):
                    rates[table].append(bench.run(table, [(1, "{insert};")], clients, "-T", str(seconds)))
        connection.execute("TRUNCATE plain, guarded, divided")
        medians = {f"{table}_per_second": float(np.median(rate)) for table, rate in rates.items()}
        measured.append({"writers": clients, "synchronous_commit": synchronous, **medians, **over_plain(rates)})
    return measured


@contextmanager
def changed(admin: psycopg.Connection, **settings: str) -> Iterator[None]:
    """Settings of the server, for a while; for sessions that begin then."""
    for name, value in settings.items():
        admin.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    admin.execute("SELECT pg_reload_conf()")
    while any(admin.execute(f"SHOW {name}").fetchone()[0] != value for name, value in settings.items()):
        time.sleep(0.01)
    yield
    for name in settings:
        admin.execute(f"ALTER SYSTEM RESET {name}")
    admin.execute("SELECT pg_reload_conf()")


def copy(connection: psycopg.Connection, rounds: int, rows: int) -> dict:
    """The time of a COPY of so many rows, in turn."""
    lines = [f"{tenant}\ta title\t{vector(0)}\n".encode() for tenant in range(TENANTS)]
    text = b"".join(lines[number % TENANTS] for number in range(rows))
    times: dict[str, list[float]] = {table: [] for table in TABLES}
    for number in range(rounds):
        for table in in_turn(number):
            start = time.perf_counter()
            with connection.cursor().copy(f"COPY {table} (tenant, title, embedding) FROM STDIN") as into:
                into.write(text)
            times[table].append(time.perf_counter() - start)
            connection.execute(f"TRUNCATE {table}")
    return {"rows": rows, "plain_s": float(np.median(times["plain"])), **over_plain(times)}


def size(connection: psycopg.Connection, admin: psycopg.Connection, bench: Bench, seconds: int) -> dict:
    """What the clock takes while writers of all kinds are at work, ten times within so many seconds, under autovacuum."""
    samples = []
    with changed(admin, autovacuum="on", autovacuum_naptime="5s"):
        work = threading.Thread(target=bench.run, args=("guarded", MIXED, WRITERS, "-T", str(seconds)))
        work.start()
        for _ in range(10):
            time.sleep(seconds / 10)
            samples.append(slots(connection))
        work.join()
    rows, sizes = zip(*samples, strict=True)
    connection.execute("TRUNCATE guarded")
    return {"seconds": seconds, "slots": list(rows), "bytes": list(sizes), "growth": max(sizes[5:]) / max(sizes[:5])}


def hits(connect: Connect, rate: float, seconds: float) -> dict:
    """The part of the searches of a Zipf stream that are hits, at so many changed rows a second; without tenants, and with."""
    result = {"writes_per_second": rate, "searches_per_second": PACE}
    order = zipf(PACE * int(seconds), 1000, 1.1, 5)
    pool = queries(DIMENSIONS, 1000, 6)
    for table, namespace in (("guarded", "guarded"), ("divided", "of/{}")):
        with connect() as searcher, connect() as writer:
            writer.execute(f"TRUNCATE {table}")
            writer.execute(f"INSERT INTO {table} (tenant, title, embedding) SELECT id % {TENANTS}, title, embedding FROM docs")
            names = [namespace.format(tenant) for tenant in range(TENANTS)]
            search = lambda number: searcher.execute("SELECT * FROM vcache_search(%s, %s::text, 10)", (names[number % TENANTS], str(pool[number])))  # noqa: E731
            for number in range(1000):
                search(number)
            searcher.execute("SELECT vcache_stats_reset()")
            begun, written = time.perf_counter(), 0
            for place, number in enumerate(order):
                now = time.perf_counter() - begun
                if now < place / PACE:
                    time.sleep(place / PACE - now)
                while written < rate * (time.perf_counter() - begun):
                    writer.execute(f"UPDATE {table} SET embedding = embedding WHERE id = (SELECT id FROM {table} WHERE tenant = %s LIMIT 1)", (written * 7 % TENANTS,))
                    written += 1
                search(number)
            found, lookups = searcher.execute("SELECT redis_hits, lookups FROM vcache_stats_total").fetchone()
            result |= {f"{table}_hit_rate": found / lookups, f"{table}_writes": written}
    return result
