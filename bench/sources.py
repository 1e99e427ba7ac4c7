"""Owns what is searched: a table of random unit vectors around some centres, in a database of its own."""

import time
from dataclasses import dataclass

import numpy as np
import psycopg

# Between 100 and 200 ms, as in the measurements that vcache began with (156.6 ms).
SCAN_SECONDS = 0.115
CENTRES = 100
BATCH = 2_000
# RuVector's HNSW takes some milliseconds for each row that it is given.
INDEXED_ROWS = 10_000
WORDS = "the database answers a query with rows that are stored in a table and found by an index or by a scan of all pages".split()


@dataclass
class Source:
    """A table ``docs`` in the database that ``connection`` is to."""

    key: str
    title: str
    engine: str
    kind: str
    dimensions: int
    index: bool
    connection: psycopg.Connection
    rows: int = 0

    def create(self, scan_seconds: float, indexed_rows: int) -> None:
        """Makes it, and registers it as the namespace ``docs``."""
        run = self.connection.execute
        run(f"CREATE EXTENSION {self.engine}")
        run("CREATE EXTENSION vcache")
        run(f"CREATE TABLE docs (id bigint PRIMARY KEY, title text, body text, embedding {self.kind}({self.dimensions}))")
        if self.index:
            self._load(indexed_rows)
            run(f"CREATE INDEX ON docs USING hnsw (embedding {self.kind}_cosine_ops)")
        else:
            self._load(BATCH)
            while (took := self._scan()) < 0.9 * scan_seconds:
                # A step by what is known so far, and no more than to ten times the rows.
                self._load(int(self.rows * min(scan_seconds / took - 1, 9)) + 1)
        run("VACUUM ANALYZE docs")
        run("SELECT vcache_create_namespace('docs', 'docs', 'embedding', metric => 'cosine', payload_columns => '{title,body}', ttl => '1 hour')")

    def _scan(self) -> float:
        query = str(queries(self.dimensions, 1, seed=3)[0])
        times = []
        for _ in range(5):
            start = time.perf_counter()
            self.connection.execute(f"SELECT id FROM docs ORDER BY embedding <=> %s::{self.kind} LIMIT 10", (query,)).fetchall()
            times.append(time.perf_counter() - start)
        return min(times)

    def _load(self, count: int) -> None:
        generator = np.random.default_rng([self.dimensions, self.rows])
        with self.connection.cursor().copy("COPY docs FROM STDIN") as copy:
            for start in range(self.rows, self.rows + count, BATCH):
                vectors = _vectors(generator, self.dimensions, min(BATCH, self.rows + count - start))
                for number, vector in enumerate(vectors, start):
                    body = " ".join(generator.choice(WORDS, 30))
                    copy.write_row((number, f"document {number}", body, "[" + ",".join(map(str, vector.tolist())) + "]"))
        self.rows += count


def _vectors(generator: np.random.Generator, dimensions: int, count: int) -> np.ndarray:
    centres = np.random.default_rng(dimensions).normal(size=(CENTRES, dimensions))
    vectors = centres[generator.integers(CENTRES, size=count)] + generator.normal(size=(count, dimensions))
    # Four digits are enough for what only takes time, and keep the loading short.
    return np.round(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 4)


def queries(dimensions: int, count: int, seed: int) -> list[list[float]]:
    """Query vectors as an embedding service gives them: floats with all the digits of a real."""
    generator = np.random.default_rng([seed, dimensions])
    centres = np.random.default_rng(dimensions).normal(size=(CENTRES, dimensions))
    vectors = centres[generator.integers(CENTRES, size=count)] + generator.normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4").astype(float).tolist()
