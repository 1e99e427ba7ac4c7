"""Owns the part of the page about the cache against none and one made by hand, and its targets."""

from targets import at_least, at_most

WAYS = [("without", "without a cache"), ("vcache", "vcache"), ("by_hand", "cache by hand")]


def targets(results: dict) -> list[dict]:
    """What was promised, and what was measured."""
    replays, misses = results["replays"], results["misses"]

    def of(stream: str, source: str) -> list[dict]:
        return [replay for replay in replays if replay["stream"] == stream and source in replay["source"]]

    repeated = min(replay["hit_rate"] for replay in of("repeated", ""))
    zipf = min(replay["hit_rate"] for replay in of("zipf_5", ""))
    below = min(replay["hit_below_engine"] for replay in replays if "scan" in replay["source"])
    faster = min(replay["by_hand_hit_over_hit"] for replay in of("zipf_1000", "_1536"))
    differing = sum(replay["differing"] for replay in replays)
    return [
        at_least("hit_rate_repeated", "hit rate, 50 queries over 10 vectors", repeated, 0.8),
        at_least("hit_rate_zipf_5", "hit rate, 100 queries over 5 vectors", zipf, 0.95),
        at_least("hit_below_scan", "how far the average hit is below the average scan", below, 0.99),
        at_least("by_hand_hit_over_hit_1536", "a hit of the cache by hand over one of vcache, 1,536 dimensions, P50", faster, 5),
        at_most("differing", "answers that differ from the engine's", differing, 0),
        *(at_most(f"miss_vs_engine_{miss['source']}", f"a miss over the plain query, {title(results, miss['source'])}", miss["miss_vs_engine"], 1.03) for miss in misses),
    ]


def title(results: dict, source: str) -> str:
    return next(table["title"] for table in results["tables"] if table["source"] == source)


def section(results: dict) -> list[str]:
    lines = [
        "Every way is asked in turn, by blocks of 25 queries, in one run, from one Python client over one connection: the plain query; `vcache_search`; and a cache",
        "written by hand (redis-py in front of psycopg, JSON values, a hash of the query's JSON as key). Redis and PostgreSQL are reached through unix sockets,",
        "all three on one processor (in a virtual machine, waking a process on another one costs more than a hit's work).",
        "Times are in milliseconds and include encoding the vector and reading the rows.",
    ]
    for stream, text in results["streams"].items():
        lines += ["", f"### {text}", ""]
        for replay in (replay for replay in results["replays"] if replay["stream"] == stream):
            lines += replayed(results, replay)
    lines += ["### Misses", "", "New vectors, as text, with the plain query in turn; P50.", ""]
    lines += ["| source | plain query | miss | ratio | added, P50 of the differences |", "| --- | --- | --- | --- | --- |"]
    for miss in results["misses"]:
        lines.append(
            f"| {title(results, miss['source'])} | {miss['plain_p50_ms']:.3f} ms | {miss['miss_p50_ms']:.3f} ms "
            f"| {miss['miss_vs_engine']:.3f} | {miss['added_p50_us']:.0f} µs |"
        )
    return lines


def replayed(results: dict, replay: dict) -> list[str]:
    table = next(table for table in results["tables"] if table["source"] == replay["source"])
    lines = [f"#### {table['title']}, {table['rows']:,} rows", ""]
    lines += ["| | average | P50 | P95 | P99 | total | queries/s | hit rate |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for key, label in WAYS:
        way = replay[key]
        rate = {"vcache": f"{replay['hit_rate']:.1%}", "by_hand": f"{replay['by_hand_hit_rate']:.1%}"}.get(key, "")
        lines.append(
            f"| {label} | {way['average']:.3f} | {way['p50']:.3f} | {way['p95']:.3f} | {way['p99']:.3f} "
            f"| {way['total_s']:.2f} s | {way['per_second']:,.0f} | {rate} |"
        )
    sizes = replay["redis_bytes"]
    lines += [
        "",
        f"Throughput {replay['throughput_improvement']:.1f} times that of the plain query. A hit takes {replay['hit']['average']:.3f} ms on average, "
        f"{replay['hit_below_engine']:.2%} below the plain query; the cache by hand's {replay['by_hand_hit_over_hit']:.1f} times as long (P50). "
        f"Redis: {sizes['vcache']['bytes_per_key']:,.0f} bytes an entry of 20 rows, by hand {sizes['by_hand']['bytes_per_key']:,.0f} of 10.",
    ]
    if replay["without_asked"] < replay["queries"]:
        lines.append(f"Without a cache only {replay['without_asked']} of the queries were asked; the total is scaled to all.")
    return [*lines, ""]
