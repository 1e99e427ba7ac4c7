"""Owns the part of the page about what Redis' failures cost, and its targets."""

from targets import at_most, figure

WORDS = {"hang": "hangs", "kill": "is killed"}
# The deadlines at their defaults, and the 20 ms that were granted.
LOST = [
    ("connected", "what a hang adds to one search on an open connection, the longest, ms", 50 + 20),
    ("new", "the same on a new connection, which the system takes for Redis, ms", 50 + 20),
    ("black_hole", "what an address that swallows all adds to one search, the longest, ms", 100 + 20),
]


def targets(results: dict) -> list[dict]:
    """What was promised, and what was measured."""
    rows = [at_most(f"lost_{kind}", what, results["lost"][kind]["max_ms"], bound) for kind, what, bound in LOST]
    cancelled = results["cancel"]
    rows.append(at_most("cancel", "from a cancel while Redis hangs to the end of the search, the longest, ms", cancelled["max_ms"], 100))
    rows.append(at_most("not_cancelled", "cancels that did not end the search", cancelled["asked_for"] - cancelled["cancelled"], 0))
    for outage in results["outages"]:
        words = f"Redis {WORDS[outage['kind']]} under {outage['sessions']} sessions"
        rows += [
            at_most(f"failed_{outage['kind']}", f"searches that failed, {words}", outage["failed"], 0),
            at_most(f"recovery_{outage['kind']}", f"until Redis is used again when it is back, s, {words}", outage["recovered_after_s"], 2),
        ]
        if outage["kind"] == "hang":
            away = outage["back_s"] - outage["gone_s"]
            rows += [
                figure("waited_at_first", f"searches that waited for a deadline before anybody knew, {words}", outage["waited_at_first"]),
                figure("waited_later", f"the same in each second afterwards, {words}", outage["waited_later"] / away),
            ]
    return rows


def section(results: dict) -> list[str]:
    lines = [
        "Over TCP, with the deadlines at their defaults (50 ms for a command, 100 ms to connect), against a Redis that is stopped (SIGSTOP: the system takes connections for it, and nothing",
        "is answered) or killed. Searches are asked by Python, all sessions in one process: what that takes is in the times.",
        "",
        "![Time of each search through an outage](outage.svg)",
        "",
        "| Redis | sessions | away | searches meanwhile, without Redis | commands that failed | searches that waited a deadline at first | later | all their time | used again after |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for outage in results["outages"]:
        lines.append(
            f"| {WORDS[outage['kind']]} | {outage['sessions']} | {outage['back_s'] - outage['gone_s']:.1f} s | {outage['searches_without_redis']} | {outage['asked_in_vain']} "
            f"| {outage['waited_at_first']} | {outage['waited_later']} | {outage['waited_together_ms']:.0f} ms | {outage['recovered_after_s']:.2f} s |"
        )
    lines += ["", "| one search | added, P50 | the longest |", "| --- | --: | --: |"]
    for kind, words in (("connected", "Redis hangs, open connection"), ("new", "Redis hangs, new connection"), ("black_hole", "an address that swallows all")):
        lines.append(f"| {words} | {results['lost'][kind]['p50_ms']:.1f} ms | {results['lost'][kind]['max_ms']:.1f} ms |")
    return lines
