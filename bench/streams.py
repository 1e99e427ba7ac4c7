"""Owns the streams of queries: which of the distinct vectors is asked for, and when."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stream:
    """A stream of queries; ``order`` holds the number of a vector for each query."""

    key: str
    title: str
    distinct: int
    order: np.ndarray


def zipf(count: int, distinct: int, exponent: float, seed: int) -> np.ndarray:
    """Numbers below ``distinct``; the smaller, the commoner."""
    weights = np.arange(1, distinct + 1, dtype=float) ** -exponent
    return np.random.default_rng(seed).choice(distinct, size=count, p=weights / weights.sum())


def _all_of(order: np.ndarray, distinct: int) -> np.ndarray:
    """The same stream with every vector in it: those that were not drawn take the place of the commonest one's last queries."""
    missing = np.setdiff1d(np.arange(distinct), order)
    commonest = np.flatnonzero(order == np.bincount(order, minlength=distinct).argmax())
    order[commonest[len(commonest) - len(missing) :]] = missing
    return order


def streams(quick: bool) -> list[Stream]:
    """The streams of the bench; a quick run has a shorter last one."""
    repeated = np.random.default_rng(50).permutation(np.repeat(np.arange(10), 5))
    queries, vectors = (1_000, 100) if quick else (10_000, 1_000)
    return [
        Stream("repeated", "50 queries over 10 vectors, 5 times each", 10, repeated),
        Stream("zipf_5", "100 queries over 5 vectors, Zipf(1)", 5, _all_of(zipf(100, 5, 1.0, 100), 5)),
        Stream("zipf_1000", f"{queries:,} queries over {vectors:,} vectors, Zipf(1.1)", vectors, zipf(queries, vectors, 1.1, 10_000)),
    ]
