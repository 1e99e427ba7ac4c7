"""What the scripts here compare with: the rows of the plain query, and what vcache has counted. Seen through a connection of its own."""

import asyncio
import inspect
import os
import random
from contextlib import contextmanager

import psycopg

DIMENSIONS = 8
VECTOR = os.environ["VECTOR_TYPE"]  # the engine's type: ruvector or vector


def random_vector(seed):
    """Doubles, as models give them: each has more digits than a real."""
    generator = random.Random(seed)
    return [generator.uniform(-1, 1) for _ in range(DIMENSIONS)]


class Witness:
    def __init__(self):
        server = {"host": os.environ["SERVER_HOST"], "port": os.environ["SERVER_PORT"]}
        self.connection = psycopg.connect(autocommit=True, **server)

    def plain(self, vector, top_k):
        """Without vcache: tuples of id, distance, payload."""
        query = (
            f"SELECT id::text, (embedding <-> %(v)s::{VECTOR})::float8, jsonb_build_object('title', title) "
            f"FROM docs ORDER BY embedding <-> %(v)s::{VECTOR} LIMIT %(k)s"
        )
        return self.connection.execute(query, {"v": str(list(vector)), "k": top_k}).fetchall()

    def counted(self):
        query = "SELECT shared_hits + redis_hits, misses, bypasses FROM vcache_stats_total"
        return self.connection.execute(query).fetchone()

    @contextmanager
    def counts(self, hits=0, misses=0, bypasses=0):
        """Asserts what the searches inside are counted as."""
        before = self.counted()
        yield
        difference = tuple(after - count for after, count in zip(self.counted(), before))
        assert difference == (hits, misses, bypasses), f"hits, misses, bypasses: {difference}"


@contextmanager
def fails(kind):
    """Asserts that what is inside raises an exception of this kind, and gives it in a list."""
    raised = []
    try:
        yield raised
    except kind as error:
        raised.append(error)
    else:
        raise AssertionError(f"no {kind.__name__} was raised")


def run(scope):
    """Runs the functions test_… of a script, in their order."""
    for name, test in list(scope.items()):
        if name.startswith("test_"):
            print(name, flush=True)
            result = test()
            if inspect.isawaitable(result):
                asyncio.run(result)
