"""Owns the part of the page about tier 1, and its targets."""

from targets import at_least, at_most

MISSES = {"RuVector, HNSW": 1.03, "pgvector, HNSW": 1.10}


def targets(results: dict) -> list[dict]:
    """What was promised, and what was measured."""
    rows = []
    for hit in results["hits"]:
        of = f"{hit['title']}, P50"
        key = hit["kind"]
        rows += [
            at_most(f"shared_hit_vs_select1_{key}", f"a hit from shared memory over a SELECT of a constant row with the same parameter, {of}", hit["shared_hit_vs_select1"], 1.6),
            at_most(f"shared_hit_vs_table_cache_{key}", f"the same over the same rows by key from an unlogged table, {of}", hit["shared_hit_vs_table_cache"], 0.9),
            at_least(f"shared_hit_vs_engine_{key}", f"the plain query over a hit, {of}", hit["shared_hit_vs_engine"], 30),
            at_most(f"text_vector_vs_input_{key}", f"a hit with the vector as text over the type's own reading of that text, {of}", hit["text_vector_vs_input"], 0.6),
        ]
    rows.append(at_least("shared_hit_scaling", "hits a second of 8 clients over those of one, over the same of that SELECT", results["scaling"]["shared_hit_scaling"], 0.9))
    for miss in results["misses"]:
        rows.append(at_most(f"miss_vs_engine_{miss['title'].split(',')[0].lower()}", f"a miss that stores in both tiers over the plain query, {miss['title']}, P50", miss["miss_vs_engine"], MISSES[miss["title"]]))
    rows.append(at_most("bytes_per_entry_overhead", f"bytes of shared memory for an entry of {results['size']['bytes']:,.0f} bytes, beyond those", results["size"]["overhead"], 128))
    growth = results["growth"]
    rows.append(at_most("growth_shared", f"a hit among {growth['many']['entries']:,} entries over one among {growth['few']['entries']:,}", growth["shared"], 1.2))
    rows.append(at_most("growth_redis", f"a GET among {growth['many']['asked']:,} keys over one among {growth['few']['asked']:,}", growth["redis"], 1.2))
    return rows


def section(results: dict) -> list[str]:
    lines = [
        "A client in Rust, prepared statements by unix socket, vectors of 1,536 dimensions in the engine's type in binary, 10 rows with payloads of 384 bytes; all on one processor. P50, µs.",
        "",
        "| engine | hit | SELECT of a constant row | rows by key from a table | plain query | hit, vector as text | the type's reading of it |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for hit in results["hits"]:
        lines.append(
            f"| {hit['title']} | {hit['hit_p50_us']:.1f} | {hit['select_p50_us']:.1f} | {hit['table_p50_us']:.1f} | {hit['engine_p50_us']:,.0f} "
            f"| {hit['text_p50_us']:.1f} | {hit['input_p50_us']:.1f} |"
        )
    scaling = results["scaling"]
    lines += ["", "| engine | miss | plain query |", "| --- | --: | --: |"]
    lines += [f"| {miss['title']} | {miss['miss_p50_us']:,.0f} | {miss['engine_p50_us']:,.0f} |" for miss in results["misses"]]
    lines += [
        "",
        f"{scaling['clients']} clients: {scaling['hits_per_second']:,.0f} hits a second, one: {scaling['hits_per_second_of_one']:,.0f}; of that SELECT "
        f"{scaling['selects_per_second']:,.0f} and {scaling['selects_per_second_of_one']:,.0f}.",
    ]
    return lines
