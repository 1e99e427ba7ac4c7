"""Runs the bench against the servers that scripts/bench.sh started, and writes bench/results."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg

import exact
import hits
import outage
import picture
import report
import shared
from measure import misses, replay
from sources import INDEXED_ROWS, SCAN_SECONDS, Source
from streams import streams

RESULTS = Path(__file__).parent / "results"
LATEST = RESULTS / "latest.json"
SOURCES = [
    ("ruvector_scan", "RuVector, no index", "ruvector", "ruvector", False),
    ("ruvector_hnsw", "RuVector, HNSW", "ruvector", "ruvector", True),
    ("pgvector_hnsw", "pgvector, HNSW", "vector", "vector", True),
]
DIMENSIONS = [384, 1536]


def main() -> None:
    arguments = parse()
    started = time.monotonic()

    def say(text: str) -> None:
        passed = int(time.monotonic() - started)
        print(f"[{passed // 60:2}:{passed % 60:02}] {text}", flush=True)

    # What is not measured now stays as it was.
    kept = {} if arguments.quick or not LATEST.exists() else json.loads(LATEST.read_text())
    results = {part: kept[part] for part in report.PARTS if part in kept}
    for part, measure in PARTS.items():
        if part in arguments.only and (part in WITH_TIER_1) == (arguments.shared_memory != "0"):
            results[part] = {"machine": machine(arguments), **measure(arguments, say)}
            write(arguments, results, say)


def write(arguments: argparse.Namespace, results: dict, say: Callable[[str], None]) -> None:
    """Writes what there is so far."""
    points = [measured.pop("points") for measured in results.get("outage", {}).get("outages", []) if "points" in measured]
    # What is kept is rounded already: the page shows all of it alike.
    results.update(rounded(results))
    results["targets"] = report.targets(results)
    if arguments.quick:
        print(report.page(results))
        return
    RESULTS.mkdir(exist_ok=True)
    if points:
        # It has them all.
        (RESULTS / "outage.svg").write_text(picture.picture(results["outage"]["outages"], points))
    LATEST.write_text(json.dumps(rounded(results), indent=1) + "\n")
    (RESULTS / "latest.md").write_text(report.page(results))
    say(f"written: {RESULTS.relative_to(Path.cwd())}")


def caches(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict:
    """The cache against none and against one made by hand."""
    replays, missed, tables = [], [], []
    for dimensions in DIMENSIONS:
        for key, title, engine, kind, index in SOURCES:
            say(f"making {title}, {dimensions} dimensions")
            rows = (SCAN_SECONDS / 5 if arguments.quick else SCAN_SECONDS, 1_000 if arguments.quick else INDEXED_ROWS)
            with made(arguments, f"{key}_{dimensions}", f"{title}, {dimensions} dimensions", engine, kind, dimensions, index, rows) as source:
                tables.append({"source": source.key, "title": source.title, "rows": source.rows, "engine": version(source)})
                for number, stream in enumerate(streams(arguments.quick)):
                    say(f"  {source.rows:,} rows: {stream.title}")
                    replays.append(replay(source, stream, arguments.redis, seed=100 * (number + 1)))
                say("  misses")
                missed.append(misses(source, (30 if index else 10) if arguments.quick else (500 if index else 100), seed=7))
    return {
        "tables": tables,
        "streams": {stream.key: stream.title for stream in streams(arguments.quick)},
        "replays": replays,
        "misses": missed,
    }


def hit(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict:
    """Hits over their floor, over TLS, through a cluster, of many sessions."""
    return hits.measure(arguments, connect(arguments, "postgres"), lambda dimensions: small(arguments, "hits", dimensions), say)


def outages(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict:
    """What Redis' failures cost."""
    with small(arguments, "outage", outage.DIMENSIONS) as source:
        return outage.measure(connect(arguments, "postgres"), lambda: connect(arguments, source.key), arguments.quick, say)


def freshness(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict:
    """What exact freshness costs searches and writers."""
    with small(arguments, "exact", exact.DIMENSIONS) as source:
        return exact.measure(arguments.programs, lambda: connect(arguments, source.key), connect(arguments, "postgres"), arguments.quick, say)


def tier_1(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict:
    """Hits from shared memory."""

    def source(name: str, title: str, kind: str) -> AbstractContextManager[Source]:
        return made(arguments, f"shared_{name}", title, kind, kind, shared.DIMENSIONS, True, (0, 500 if arguments.quick else INDEXED_ROWS))

    return shared.measure(arguments, source, say)


def small(arguments: argparse.Namespace, part: str, dimensions: int) -> AbstractContextManager[Source]:
    """A table for hits, and for some misses."""
    return made(arguments, f"{part}_{dimensions}", part, "vector", "vector", dimensions, True, (0, 1_000 if arguments.quick else 5_000))


@contextmanager
def made(arguments: argparse.Namespace, name: str, title: str, engine: str, kind: str, dimensions: int, index: bool, rows: tuple[float, int]) -> Iterator[Source]:
    """A source in a database of its own, which is then dropped. ``rows``: see :meth:`Source.create`."""
    with connect(arguments, "postgres") as admin:
        admin.execute(f"CREATE DATABASE {name}")
        with connect(arguments, name) as connection:
            source = Source(name, title, engine, kind, dimensions, index, connection)
            source.create(*rows)
            yield source
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


PARTS = {"caches": caches, "hits": hit, "outage": outages, "exact": freshness, "shared": tier_1}
WITH_TIER_1 = ["caches", "shared"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True, help="the directory of PostgreSQL's socket")
    parser.add_argument("--port", required=True)
    parser.add_argument("--redis", required=True, help="Redis' socket")
    parser.add_argument("--hit", required=True, help="the program of bench/hit")
    parser.add_argument("--programs", required=True, help="the directory of PostgreSQL's programs")
    parser.add_argument("--shared-memory", required=True, help="what the server has of it for entries; 0: the parts about Redis are measured")
    parser.add_argument("--commit", default="unknown", help="what is measured")
    parser.add_argument("--only", nargs="+", choices=report.PARTS, default=list(report.PARTS), help="these parts; of the others the results stay")
    parser.add_argument("--quick", action="store_true", help="small tables and streams, only printed: to see that it runs")
    return parser.parse_args()


def connect(arguments: argparse.Namespace, database: str) -> psycopg.Connection:
    return psycopg.connect(host=arguments.host, port=arguments.port, user="postgres", dbname=database, autocommit=True)


def version(source: Source) -> str:
    found = source.connection.execute("SELECT extname || ' ' || extversion FROM pg_extension WHERE extname = %s", (source.engine,))
    return found.fetchone()[0]


def machine(arguments: argparse.Namespace) -> dict[str, str]:
    connection = connect(arguments, "postgres")
    model = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="ascii") if line.startswith("model name")]
    return {
        "commit": arguments.commit,
        "date": time.strftime("%Y-%m-%d"),
        "cpu": model[0] if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "postgresql": connection.execute("SHOW server_version").fetchone()[0],
        "python": platform.python_version(),
        "psycopg": psycopg.__version__,
        "load_1min": f"{os.getloadavg()[0]:.1f}",
    }


def rounded(value: object) -> object:
    """The same with floats of five significant digits."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
