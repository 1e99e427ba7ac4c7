"""Owns the part of the page about hits by the client in bench/hit, and its targets."""

from targets import at_most, figure


def targets(results: dict) -> list[dict]:
    """What was promised, and what was measured."""
    rows = []
    for floor in results["floor"]:
        what = f"a hit over `SELECT` with the same vector and a raw GET of the same entry, {floor['dimensions']:,} dimensions, P50"
        rows.append(at_most(f"redis_hit_vs_floor_{floor['dimensions']}", what, floor["redis_hit_vs_floor"], 1.3))
    for name, text in (("tls", "over TLS"), ("cluster", "through a cluster of 3 masters")):
        for ways in results["ways"]:
            key = f"{name}_vs_plain"
            rows.append(figure(f"{key}_{ways['dimensions']}", f"a hit {text} over one by plain TCP, {ways['dimensions']:,} dimensions, P50", ways[key]))
    few, many = results["sessions"]
    failed = sum(measured["sessions_that_failed"] for measured in results["sessions"])
    rows.append(at_most("sessions_failed", f"sessions with a search that failed, of {many['sessions']} that search at once", failed, 0))
    rows.append(figure("sessions_throughput", f"searches a second of {many['sessions']} sessions over those of {few['sessions']}", many["throughput_vs_few"]))
    return rows


def section(results: dict) -> list[str]:
    lines = [
        "A client in Rust, prepared statements, vectors as `real[]` in binary, 10 rows of an entry of 20; all processes on one processor. P50, µs.",
        "",
        "### Over the floor",
        "",
        "By unix sockets, one after the other in turn. The floor is `SELECT $1::real[] IS NULL` and a GET of the entry. That statement returns one row of one value; the",
        "last but one column has one that takes the vector and returns the same ten rows from constants: what PostgreSQL itself takes for them.",
        "",
        "| dimensions | hit | SELECT | GET | hit over the floor | SELECT of the same rows | hit over that and GET |",
        "| --: | --: | --: | --: | --: | --: | --: |",
    ]
    for floor in results["floor"]:
        lines.append(
            f"| {floor['dimensions']:,} | {floor['hit_p50_us']:.1f} | {floor['select_p50_us']:.1f} | {floor['get_p50_us']:.1f} | {floor['redis_hit_vs_floor']:.2f} "
            f"| {floor['rows_p50_us']:.1f} | {floor['redis_hit_vs_rows']:.2f} |"
        )
    lines += [
        "",
        "### TLS and a cluster",
        "",
        "Over TCP to the same machine, in turn by blocks, on one session; the ratio is the median of those of the rounds.",
        "",
        "| dimensions | plain | TLS | cluster | TLS over plain | cluster over plain |",
        "| --: | --: | --: | --: | --: | --: |",
    ]
    for ways in results["ways"]:
        lines.append(
            f"| {ways['dimensions']:,} | {ways['plain_p50_us']:.1f} | {ways['tls_p50_us']:.1f} | {ways['cluster_p50_us']:.1f} "
            f"| {ways['tls_vs_plain']:.3f} | {ways['cluster_vs_plain']:.3f} |"
        )
    lines += [
        "",
        "### Many sessions",
        "",
        "Each searches as fast as it can, over TCP to one Redis; the memory is what a backend shares with no other process, before its first search and at the end.",
        "",
        "| sessions | searches/s | P50 | P99 | connections at Redis | failed | memory before | memory after |",
        "| --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for many in results["sessions"]:
        lines.append(
            f"| {many['sessions']} | {many['per_second']:,.0f} | {many['p50_ms']:.2f} ms | {many['p99_ms']:.2f} ms | {many['redis_connections']} "
            f"| {many['sessions_that_failed']} | {many['private_kb_connected']:,.0f} kB | {many['private_kb_searched']:,.0f} kB |"
        )
    return lines
