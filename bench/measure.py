"""Owns the measurements: every way is asked the same, in turn, in one run."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import redis

from sources import Source, queries
from streams import Stream
from ways import ByHand, Engine, Vcache

# Queries of a block: the ways take turns by block, so that what disturbs the machine disturbs all.
BLOCK = 25
# Queries of a long stream that are also asked without a cache.
SAMPLE = 100


def timed(search: Callable[[list[float]], Sequence], query: list[float]) -> tuple[float, Sequence]:
    """Seconds, and the rows."""
    start = time.perf_counter()
    rows = search(query)
    return time.perf_counter() - start, rows


def summary(seconds: Sequence[float], queries_of_stream: int) -> dict[str, float]:
    """In milliseconds, except total_s and per_second; a sample is scaled to the stream."""
    times = np.asarray(seconds) * 1000
    total = times.mean() * queries_of_stream / 1000
    return {
        "average": times.mean(),
        "p50": np.percentile(times, 50),
        "p95": np.percentile(times, 95),
        "p99": np.percentile(times, 99),
        "total_s": total,
        "per_second": queries_of_stream / total,
    }


def replay(source: Source, stream: Stream, redis_path: str, seed: int) -> dict:
    """The stream without a cache, with vcache and with the cache by hand, block by block in turn."""
    vectors = queries(source.dimensions, stream.distinct, seed)
    engine, vcache = Engine(source.connection, source.kind), Vcache(source.connection)
    by_hand = ByHand(engine, redis_path)
    store = redis.Redis(unix_socket_path=redis_path)
    source.connection.execute("SELECT vcache_flush(), vcache_stats_reset()")
    store.flushall()
    for search in (engine.search, vcache.search, by_hand.search):
        search(queries(source.dimensions, 1, seed + 1)[0])
    source.connection.execute("SELECT vcache_flush(), vcache_stats_reset()")
    store.flushall()
    by_hand.hits = by_hand.lookups = 0

    without, cached, hand, hits, hand_hits = [], [], [], [], []
    differing = 0
    every = 1 if source.index or len(stream.order) <= SAMPLE else len(stream.order) // SAMPLE

    def plain(numbers: range) -> dict[int, Sequence]:
        answers = {}
        for number in numbers:
            if number % every == 0:
                seconds, answers[number] = timed(engine.search, vectors[stream.order[number]])
                without.append(seconds)
        return answers

    def through_vcache(numbers: range) -> dict[int, Sequence]:
        answers = {}
        for number in numbers:
            seconds, answers[number] = timed(vcache.search, vectors[stream.order[number]])
            cached.append(seconds)
            if seen_before(stream, number):
                hits.append(seconds)
        return answers

    def through_cache_by_hand(numbers: range) -> None:
        for number in numbers:
            count = by_hand.hits
            seconds, _ = timed(by_hand.search, vectors[stream.order[number]])
            hand.append(seconds)
            if by_hand.hits > count:
                hand_hits.append(seconds)

    ways = [plain, through_vcache, through_cache_by_hand]
    for start in range(0, len(stream.order), BLOCK):
        numbers = range(start, min(start + BLOCK, len(stream.order)))
        # Who goes first changes from block to block: what one has read the next finds warm.
        turn = start // BLOCK % len(ways)
        answers = {way: way(numbers) for way in ways[turn:] + ways[:turn]}
        for number, rows in answers[plain].items():
            found = answers[through_vcache][number]
            # Rows of one distance may change places.
            if [str(row[0]) for row in rows] != [row[0] for row in found]:
                differing += [row[1] for row in rows] != [row[1] for row in found]
    count = len(stream.order)
    found, lookups = vcache.counts()
    result = {
        "source": source.key,
        "stream": stream.key,
        "queries": count,
        "without": summary(without, count),
        "without_asked": len(without),
        "vcache": summary(cached, count),
        "by_hand": summary(hand, count),
        "hit_rate": found / lookups,
        "by_hand_hit_rate": by_hand.hits / by_hand.lookups,
        "hit": summary(hits, len(hits)),
        "by_hand_hit": summary(hand_hits, len(hand_hits)),
        "redis_bytes": {"vcache": memory(store, "vcache:*"), "by_hand": memory(store, ByHand.prefix + "*")},
        "differing": differing,
    }
    result["throughput_improvement"] = result["vcache"]["per_second"] / result["without"]["per_second"]
    result["hit_below_engine"] = 1 - result["hit"]["average"] / result["without"]["average"]
    result["by_hand_hit_over_hit"] = result["by_hand_hit"]["p50"] / result["hit"]["p50"]
    return result


def seen_before(stream: Stream, number: int) -> bool:
    """Whether this query of the stream was asked before."""
    return bool((stream.order[:number] == stream.order[number]).any())


def memory(store: redis.Redis, pattern: str) -> dict[str, float]:
    """What the keys take in Redis: their number, and bytes of one."""
    sizes = [store.memory_usage(key, samples=0) for key in store.scan_iter(pattern, count=1000)]
    return {"keys": len(sizes), "bytes_per_key": sum(sizes) / max(len(sizes), 1)}


def misses(source: Source, count: int, seed: int) -> dict:
    """A miss, with its store, over the plain query: the same new vectors, as text, in turn."""
    engine, vcache = Engine(source.connection, source.kind), Vcache(source.connection)
    plain, missed = [], []
    for number, query in enumerate(queries(source.dimensions, count, seed)):
        turns = [(engine.search, plain), (vcache.search_by_text, missed)]
        for search, times in turns if number % 2 else reversed(turns):
            times.append(timed(search, query)[0])
    plain, missed = np.asarray(plain), np.asarray(missed)
    return {
        "source": source.key,
        "queries": count,
        "plain_p50_ms": np.median(plain) * 1000,
        "miss_p50_ms": np.median(missed) * 1000,
        "miss_vs_engine": np.median(missed) / np.median(plain),
        "added_p50_us": np.median(missed - plain) * 1e6,
    }
