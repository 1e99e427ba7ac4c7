"""Owns the page that a person reads, of all parts that were measured, each when it was measured last."""

import report_caches
import report_exact
import report_hits
import report_outage
import report_shared

# By the names of the parts in latest.json.
PARTS = {
    "caches": ("The cache against none and one made by hand", report_caches),
    "hits": ("Hits", report_hits),
    "outage": ("What Redis' failures cost", report_outage),
    "exact": ("What exact freshness costs", report_exact),
    "shared": ("Hits from shared memory", report_shared),
}


def targets(results: dict) -> list[dict]:
    """Those of the parts that there are."""
    return [target for part, (_, module) in PARTS.items() if part in results for target in module.targets(results[part])]


def page(results: dict) -> str:
    lines = [
        "# What the cache is worth",
        "",
        "Measured by `make bench`. Shared machines are noisy, so read ratios rather than times.",
        "",
        "## Targets",
        "",
        "| key | what | target | measured | |",
        "| --- | --- | --- | --- | --- |",
    ]
    words = {True: "met", False: "**missed**", None: ""}
    for row in results["targets"]:
        lines.append(f"| `{row['key']}` | {row['what']} | {row['target']} | {row['measured']:.4g} | {words[row['met']]} |")
    for part, (title, module) in PARTS.items():
        if part in results:
            machine = results[part]["machine"]
            made = f"{machine['date']}, commit {machine['commit']}, {machine['cores']} cores ({machine['cpu']}), PostgreSQL {machine['postgresql']}"
            lines += ["", f"## {title}", "", f"{made}, Python {machine['python']}, psycopg {machine['psycopg']}.", "", *module.section(results[part])]
    return "\n".join(lines) + "\n"
