"""Owns the measurements of hits by the client in bench/hit: over their floor, over TLS, through a cluster, and of many sessions."""

import argparse
import json
import subprocess
from collections.abc import Callable

import psycopg

import servers
from servers import Cluster, Redis
from sources import Source

DIMENSIONS = [384, 1536]
# The first is what many are compared with.
SESSIONS = [8, 500]
ROUNDS = 3


def measure(arguments: argparse.Namespace, admin: psycopg.Connection, source: Callable[[int], Source], say: Callable[[str], None]) -> dict:
    """All of it."""
    quick = arguments.quick

    def client(made: Source, *words: object) -> dict:
        command = [arguments.hit, arguments.host, arguments.port, made.key, made.dimensions, *words]
        return json.loads(subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout)

    def tls(directory: str) -> Redis:
        file = servers.certificate(directory)
        certificates.append(file)
        return Redis(directory, tls=file)

    floors, ways, sessions, certificates = [], [], [], []
    with servers.own(admin, Redis, tls, Cluster) as (plain, secure, cluster):
        for dimensions in DIMENSIONS:
            with source(dimensions) as made:
                say(f"{dimensions} dimensions: a hit over its floor")
                servers.use(admin, f"redis+unix://{plain.socket}", redis_tls_ca_file=certificates[0])
                floors.append(client(made, "floor", plain.socket, 500 if quick else 20_000))
                say(f"{dimensions} dimensions: TLS and a cluster")
                named = [f"plain={plain.url}", f"tls={secure.url}", f"cluster={cluster.url}"]
                ways.append(client(made, "ways", 600 if quick else 12_000, *named))
                if dimensions != DIMENSIONS[0]:
                    continue
                servers.use(admin, plain.url)
                for _ in range(ROUNDS):
                    for number in SESSIONS:
                        say(f"{number} sessions")
                        sessions.append(client(made, "sessions", plain.socket, number, 0.5 if quick else 4))
    return {"floor": floors, "ways": ways, "sessions": together(sessions)}


def together(sessions: list[dict]) -> list[dict]:
    """One for each number of sessions: the sums of what failed, the medians of the rest."""
    summed = []
    for number in SESSIONS:
        same = [measured for measured in sessions if measured["sessions"] == number]
        middle = {key: sorted(measured[key] for measured in same)[len(same) // 2] for key in same[0]}
        summed.append({**middle, "sessions_that_failed": sum(measured["sessions_that_failed"] for measured in same)})
    few, many = summed
    many["throughput_vs_few"] = many["per_second"] / few["per_second"]
    return summed
