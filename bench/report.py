"""Owns the page that a person reads, and the targets."""

WAYS = [("without", "without a cache"), ("vcache", "vcache"), ("by_hand", "cache by hand")]


def targets(results: dict) -> list[dict]:
    """What was promised, and what was measured."""
    replays, misses = results["replays"], results["misses"]

    def of(stream: str, source: str) -> list[dict]:
        return [replay for replay in replays if replay["stream"] == stream and source in replay["source"]]

    def row(name: str, text: str, target: str, value: float, met: bool) -> dict:
        return {"key": name, "what": text, "target": target, "measured": value, "met": bool(met)}

    repeated = min(replay["hit_rate"] for replay in of("repeated", ""))
    zipf = min(replay["hit_rate"] for replay in of("zipf_5", ""))
    below = min(replay["hit_below_engine"] for replay in replays if "scan" in replay["source"])
    faster = min(replay["by_hand_hit_over_hit"] for replay in of("zipf_1000", "_1536"))
    differing = sum(replay["differing"] for replay in replays)
    rows = [
        row("hit_rate_repeated", "hit rate, 50 queries over 10 vectors", "0.80", repeated, repeated >= 0.8),
        row("hit_rate_zipf_5", "hit rate, 100 queries over 5 vectors", "0.95", zipf, zipf >= 0.95),
        row("hit_below_scan", "how far the average hit is below the average scan", "0.99 or more", below, below >= 0.99),
        row("by_hand_hit_over_hit_1536", "a hit of the cache by hand over one of vcache, 1,536 dimensions, P50", "5 or more", faster, faster >= 5),
        row("differing", "answers that differ from the engine's", "0", differing, differing == 0),
    ]
    for miss in misses:
        ratio = miss["miss_vs_engine"]
        rows.append(row(f"miss_vs_engine_{miss['source']}", f"a miss over the plain query, {title(results, miss['source'])}", "1.03 or less", ratio, ratio <= 1.03))
    return rows


def title(results: dict, source: str) -> str:
    return next(table["title"] for table in results["tables"] if table["source"] == source)


def page(results: dict) -> str:
    machine = results["machine"]
    lines = [
        "# What the cache is worth",
        "",
        "Measured by `make bench`, every way in turn, by blocks of 25 queries, in one run, from one Python client over one connection: the plain query; `vcache_search`; and a cache",
        "written by hand (redis-py in front of psycopg, JSON values, a hash of the query's JSON as key). Redis and PostgreSQL are reached through unix sockets,",
        "all three on one processor (in a virtual machine, waking a process on another one costs more than a hit's work).",
        "Times are in milliseconds and include encoding the vector and reading the rows; shared machines are noisy, so read ratios rather than times.",
        "",
        f"{machine['date']}, commit {machine['commit']}, {machine['cores']} cores ({machine['cpu']}), PostgreSQL {machine['postgresql']}, Python {machine['python']}, psycopg {machine['psycopg']}.",
        "",
        "## Targets",
        "",
        "| key | what | target | measured | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in results["targets"]:
        lines.append(f"| `{row['key']}` | {row['what']} | {row['target']} | {row['measured']:.4g} | {'met' if row['met'] else '**missed**'} |")
    for stream, text in results["streams"].items():
        lines += ["", f"## {text}", ""]
        for replay in (replay for replay in results["replays"] if replay["stream"] == stream):
            lines += replayed(results, replay)
    lines += ["## Misses", "", "New vectors, as text, with the plain query in turn; P50.", ""]
    lines += ["| source | plain query | miss | ratio | added, P50 of the differences |", "| --- | --- | --- | --- | --- |"]
    for miss in results["misses"]:
        lines.append(
            f"| {title(results, miss['source'])} | {miss['plain_p50_ms']:.3f} ms | {miss['miss_p50_ms']:.3f} ms "
            f"| {miss['miss_vs_engine']:.3f} | {miss['added_p50_us']:.0f} µs |"
        )
    return "\n".join(lines) + "\n"


def replayed(results: dict, replay: dict) -> list[str]:
    table = next(table for table in results["tables"] if table["source"] == replay["source"])
    lines = [f"### {table['title']}, {table['rows']:,} rows", ""]
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


def outage_targets(results: dict) -> list[dict]:
    """What was promised for the time that Redis is away, and what was measured."""

    def row(name: str, text: str, target: str, value: float, met: bool) -> dict:
        return {"key": name, "what": text, "target": target, "measured": value, "met": bool(met)}

    hung, cancelled = results["hang"], results["cancel"]
    rows = [
        row("hang_connected", "what a hang adds to one search on an open connection, the longest, ms", "70 or less", hung["connected"]["max_ms"], hung["connected"]["max_ms"] <= 70),
        row("hang_new", "the same with a connection to be made, ms", "170 or less", hung["new"]["max_ms"], hung["new"]["max_ms"] <= 170),
        row("cancel", "from a cancel to the end of the search, the longest, ms", "100 or less", cancelled["max_ms"], cancelled["max_ms"] <= 100),
    ]
    for outage in results["outages"]:
        kind, recovered, failed = outage["kind"], outage["recovered_after_s"], outage["failed"]
        rows += [
            row(f"recovery_{kind}", f"until Redis is used again after a {kind}, s", "2 or less", recovered, recovered <= 2),
            row(f"failed_{kind}", f"searches that failed, {kind}", "0", failed, failed == 0),
        ]
    for floor in results["floor"]:
        ratio = floor["redis_hit_vs_floor"]
        rows.append(row(f"redis_hit_vs_floor_{floor['dimensions']}", f"a hit over SELECT and GET, {floor['dimensions']} dimensions, P50", "1.3 or less", ratio, ratio <= 1.3))
    return rows


def outage_page(results: dict) -> str:
    machine = results["machine"]
    lines = [
        "# What Redis' failures cost",
        "",
        "Measured by `make bench`, against a Redis of its own that is stopped (SIGSTOP: it accepts connections and never answers) or killed, over TCP, with the deadlines at their defaults.",
        "Searches are asked by Python, with all sessions in one process: what it takes itself is in the times. The floor is measured by a client in Rust over unix sockets.",
        "",
        f"{machine['date']}, commit {machine['commit']}, {machine['cores']} cores ({machine['cpu']}), PostgreSQL {machine['postgresql']}.",
        "",
        "![Time of each search through an outage](outage.svg)",
        "",
        "| key | what | target | measured | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in results["targets"]:
        lines.append(f"| `{row['key']}` | {row['what']} | {row['target']} | {row['measured']:.4g} | {'met' if row['met'] else '**missed**'} |")
    lines += [
        "",
        "## Outages",
        "",
        "| Redis | sessions | away, s | searches meanwhile, without Redis | commands that failed | searches that took a deadline or more | these together, ms | used again after, s |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for outage in results["outages"]:
        words = {"hang": "hangs", "kill": "is killed"}[outage["kind"]]
        lines.append(
            f"| {words} | {outage['sessions']} | {outage['back_s'] - outage['gone_s']:.1f} | {outage['searches_without_redis']} | {outage['asked_in_vain']} "
            f"| {outage['searches_that_lost_a_deadline']} | {outage['lost_together_ms']:.0f} | {outage['recovered_after_s']:.2f} |"
        )
    lines += ["", "## A hit over its floor", "", "| dimensions | hit, µs | SELECT with the same vector, µs | GET of the same entry, µs | ratio |", "| --: | --: | --: | --: | --: |"]
    for floor in results["floor"]:
        lines.append(f"| {floor['dimensions']} | {floor['hit_p50_us']:.1f} | {floor['select_p50_us']:.1f} | {floor['get_p50_us']:.1f} | {floor['redis_hit_vs_floor']:.3f} |")
    return "\n".join(lines) + "\n"
