"""Owns the part of the page about what exact freshness costs, and its targets."""

from targets import at_least, at_most, figure

# By writers and synchronous_commit: a target's key and its words.
WRITES = {
    (1, "on"): ("write_overhead", "one writer, fsync on", 0.95),
    (1, "off"): ("write_overhead_asynchronous", "one writer, `synchronous_commit = off`", 0.85),
    (8, "on"): ("write_scaling", "8 writers, fsync on", 0.9),
    (8, "off"): ("write_scaling_asynchronous", "8 writers, `synchronous_commit = off`", 0.9),
}


def targets(results: dict) -> list[dict]:
    """What was promised, and what was measured."""
    clock, size = results["clock"], results["size"]
    rows = [
        at_most("clock_read_us", f"processor time that exact freshness adds to a hit, at {clock['slots']} slots, µs", clock["settled"]["added_us"], 4),
        at_most("clock_read_kept_open_us", f"the same with a transaction open during {clock['writes']:,} writes, µs", clock["kept_open"]["added_us"], 8),
        figure("clock_read_kept_open", "that over the former", clock["kept_open_vs_settled"]),
    ]
    for measured in results["writes"]:
        key, words, bound = WRITES[measured["writers"], measured["synchronous_commit"]]
        rows.append(at_least(key, f"single-row INSERTs a second with vcache's triggers over without, {words}", measured["guarded_vs_plain"], bound))
        rows.append(figure(f"{key}_tenants", "the same with a `namespace_column`", measured["divided_vs_plain"]))
    rows.append(at_most("copy", f"a COPY of {results['copy']['rows']:,} rows with vcache's triggers over without, time", results["copy"]["guarded_vs_plain"], 1.02))
    rows.append(figure("copy_tenants", "the same with a `namespace_column`", results["copy"]["divided_vs_plain"]))
    rows.append(at_most("clock_slots", f"most slots of a source while {size['seconds']} s of mixed writers went by", max(size["slots"]), 64))
    rows.append(at_most("clock_growth", "largest size of the clock's table and index in the second half of that time over that in the first", size["growth"], 1.1))
    for measured in results["hits"]:
        rate = measured["writes_per_second"]
        rows.append(figure(f"hit_rate_{rate}", f"hit rate of a Zipf stream at {rate} writes/s", measured["guarded_hit_rate"]))
        rows.append(figure(f"hit_rate_{rate}_tenants", "the same with 20 tenants", measured["divided_hit_rate"]))
    return rows


def section(results: dict) -> list[str]:
    clock, size = results["clock"], results["size"]
    lines = [
        "### A search",
        "",
        "Processor time of a backend for a hit from Redis, in µs: of one table, with freshness 'exact' and with 'ttl', in turn.",
        "",
        "| | 'exact' | 'ttl' | added |",
        "| --- | --: | --: | --: |",
    ]
    for name, words in (("settled", f"{clock['slots']} slots"), ("kept_open", f"a transaction open during {clock['writes']:,} writes")):
        lines.append(f"| {words} | {clock[name]['exact_us']:.1f} | {clock[name]['ttl_us']:.1f} | {clock[name]['added_us']:.2f} |")
    lines += [
        "",
        "### Writers",
        "",
        "INSERTs of one row a second into a table with a primary key and no other index, 384 dimensions as text, by pgbench, prepared.",
        "",
        "| writers | synchronous_commit | without vcache | with | with tenants | with over without | with tenants over without |",
        "| --: | --- | --: | --: | --: | --: | --: |",
    ]
    for measured in results["writes"]:
        lines.append(
            f"| {measured['writers']} | {measured['synchronous_commit']} | {measured['plain_per_second']:,.0f} | {measured['guarded_per_second']:,.0f} "
            f"| {measured['divided_per_second']:,.0f} | {measured['guarded_vs_plain']:.3f} | {measured['divided_vs_plain']:.3f} |"
        )
    copied = results["copy"]
    lines += [
        "",
        f"A COPY of {copied['rows']:,} such rows takes {copied['plain_s']:.2f} s; with vcache {copied['guarded_vs_plain']:.3f} of that, with tenants {copied['divided_vs_plain']:.3f}.",
        "",
        "### The clock's table",
        "",
        f"While {size['seconds']} s of INSERTs, UPDATEs, DELETEs and rollbacks in all isolation levels by 8 writers went by, ten times:",
        "",
        f"slots of the source: {', '.join(str(slots) for slots in size['slots'])}; kB of the table and its index: {', '.join(str(size // 1024) for size in size['bytes'])}.",
        "",
        "### Hits while rows change",
        "",
        f"{results['hits'][0]['searches_per_second']} searches a second of 1,000 vectors, Zipf(1.1), all cached before; with tenants, the vectors and the writes are those of 20.",
        "",
        "| writes/s | hit rate | with tenants |",
        "| --: | --: | --: |",
    ]
    for measured in results["hits"]:
        lines.append(f"| {measured['writes_per_second']} | {measured['guarded_hit_rate']:.3f} | {measured['divided_hit_rate']:.3f} |")
    return lines
