"""Runs the bench against the servers that scripts/bench.sh started, and writes bench/results."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

import outage
import picture
import report
from measure import misses, replay
from sources import INDEXED_ROWS, SCAN_SECONDS, Source
from streams import streams

RESULTS = Path(__file__).parent / "results"
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

    if arguments.only in (None, "caches"):
        caches(arguments, say)
    if arguments.only in (None, "outage"):
        outages(arguments, say)


def outages(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    """What Redis' failures cost, and a hit over its floor."""
    results = {"machine": machine(arguments), **outage.measure(arguments, lambda database: connect(arguments, database), say)}
    results["targets"] = report.outage_targets(results)
    drawn = picture.picture(results["outages"])
    for measured in results["outages"]:
        # The picture has them all.
        del measured["points"]
    if arguments.quick:
        print(report.outage_page(results))
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "outage.json").write_text(json.dumps(rounded(results), indent=1) + "\n")
    (RESULTS / "outage.svg").write_text(drawn)
    (RESULTS / "outage.md").write_text(report.outage_page(results))
    say(f"written: {RESULTS.relative_to(Path.cwd())}/outage.json, outage.svg and outage.md")


def caches(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    """The cache against none and against one made by hand."""
    replays, missed, tables = [], [], []
    for dimensions in DIMENSIONS:
        for key, title, engine, kind, index in SOURCES:
            name = f"{key}_{dimensions}"
            say(f"making {title}, {dimensions} dimensions")
            connect(arguments, "postgres").execute(f"CREATE DATABASE {name}")
            source = Source(name, f"{title}, {dimensions} dimensions", engine, kind, dimensions, index, connect(arguments, name))
            source.create(SCAN_SECONDS / 5 if arguments.quick else SCAN_SECONDS, 1_000 if arguments.quick else INDEXED_ROWS)
            tables.append({"source": name, "title": source.title, "rows": source.rows, "engine": version(source)})
            for number, stream in enumerate(streams(arguments.quick)):
                say(f"  {source.rows:,} rows: {stream.title}")
                replays.append(replay(source, stream, arguments.redis, seed=100 * (number + 1)))
            say("  misses")
            missed.append(misses(source, (30 if index else 10) if arguments.quick else (500 if index else 100), seed=7))
            source.connection.close()
            connect(arguments, "postgres").execute(f"DROP DATABASE {name}")
    results = {
        "machine": machine(arguments),
        "tables": tables,
        "streams": {stream.key: stream.title for stream in streams(arguments.quick)},
        "replays": replays,
        "misses": missed,
    }
    results["targets"] = report.targets(results)
    if arguments.quick:
        print(report.page(results))
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps(rounded(results), indent=1) + "\n")
    (RESULTS / "latest.md").write_text(report.page(results))
    say(f"written: {RESULTS.relative_to(Path.cwd())}/latest.json and latest.md")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True, help="the directory of PostgreSQL's socket")
    parser.add_argument("--port", required=True)
    parser.add_argument("--redis", required=True, help="Redis' socket")
    parser.add_argument("--floor", required=True, help="the program of bench/floor")
    parser.add_argument("--commit", default="unknown", help="what is measured")
    parser.add_argument("--only", choices=["caches", "outage"], help="this part alone")
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
