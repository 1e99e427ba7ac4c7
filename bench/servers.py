"""Owns servers of the measurements' own: a Redis that can be stopped, killed and started again, one that speaks TLS, a cluster; and which of them the server uses."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import redis

SLOTS = 16384


class Redis:
    """One, on a port and a socket of its own. ``tls`` is a file with a certificate and its key."""

    def __init__(self, directory: str, *options: str, tls: str | None = None) -> None:
        self.port = free_port()
        self.url = f"{'rediss' if tls else 'redis'}://127.0.0.1:{self.port}"
        self.socket = f"{directory}/redis-{self.port}.sock"
        self._command = ["redis-server", "--bind", "127.0.0.1", "--unixsocket", self.socket, "--unixsocketperm", "777", "--dir", directory]
        self._command += ["--save", "", "--appendonly", "no", "--maxclients", "10000", *options]
        self._command += ["--port", "0" if tls else str(self.port)]
        if tls:
            self._command += ["--tls-port", str(self.port), "--tls-cert-file", tls, "--tls-key-file", tls, "--tls-auth-clients", "no"]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.1).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    raise RuntimeError("redis-server has ended") from None
                time.sleep(0.002)

    def command(self, *words: str | int) -> object:
        with redis.Redis(unix_socket_path=self.socket) as client:
            return client.execute_command(*words)

    def hang(self) -> None:
        """It takes connections, which is the system's work, and never answers."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Cluster:
    """Three masters."""

    def __init__(self, directory: str) -> None:
        self._nodes, buses = [], []
        for number in range(3):
            buses.append(free_port())
            options = ["--cluster-enabled", "yes", "--cluster-port", str(buses[-1]), "--cluster-config-file", f"nodes-{number}.conf"]
            self._nodes.append(Redis(directory, *options))
        for number, node in enumerate(self._nodes):
            node.command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            node.command("CLUSTER ADDSLOTSRANGE", number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1)
            for other, bus in zip(self._nodes, buses, strict=True):
                node.command("CLUSTER MEET", "127.0.0.1", other.port, bus)
        while not all(self._is_well(node) for node in self._nodes):
            time.sleep(0.05)
        self.url = "redis-cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self._nodes)

    @staticmethod
    def _is_well(node: Redis) -> bool:
        info = node.command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3"

    def kill(self) -> None:
        for node in self._nodes:
            node.kill()


class BlackHole:
    """An address that answers nothing: the system drops what comes when its queue is full."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._clients = []
        self.port = self._server.getsockname()[1]
        while True:
            client = socket.socket()
            self._clients.append(client)
            client.settimeout(0.3)
            try:
                client.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return

    def close(self) -> None:
        for one in (*self._clients, self._server):
            one.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def certificate(directory: str) -> str:
    """A file with a certificate for 127.0.0.1, that is its own authority, and its key."""
    file, configuration = f"{directory}/tls.pem", f"{directory}/openssl.conf"
    with open(configuration, "w", encoding="ascii") as to:
        to.write("[req]\ndistinguished_name = name\nx509_extensions = server\n[name]\n[server]\nsubjectAltName = IP:127.0.0.1\n")
    command = ["openssl", "req", "-x509", "-config", configuration, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, "-subj", "/CN=bench", "-days", "2", "-keyout", f"{file}.key", "-out", file], check=True, capture_output=True)
    with open(f"{file}.key", "rb") as key, open(file, "ab") as to:
        to.write(key.read())
    return file


@contextmanager
def own(admin: psycopg.Connection, *kinds: Callable[[str], Redis | Cluster]) -> Iterator[list]:
    """Servers of the measurement's own, in a directory that all may read. In the end the server has its old settings again."""
    with tempfile.TemporaryDirectory(prefix="vcache-bench-redis.") as directory:
        os.chmod(directory, 0o755)
        servers = []
        try:
            for kind in kinds:
                servers.append(kind(directory))
            yield servers
        finally:
            for server in servers:
                server.kill()
            admin.execute("ALTER SYSTEM RESET ALL")
            admin.execute("SELECT pg_reload_conf()")


def use(admin: psycopg.Connection, url: str, **settings: str) -> None:
    """Sets vcache.redis_url, and other settings of vcache, in the server. Sessions that begin afterwards have them."""
    for name, value in {**settings, "redis_url": url}.items():
        admin.execute(f"ALTER SYSTEM SET vcache.{name} = '{value}'")
    admin.execute("SELECT pg_reload_conf()")
    while admin.execute("SHOW vcache.redis_url").fetchone()[0] != url or any(
        admin.execute(f"SHOW vcache.{name}").fetchone()[0] != value for name, value in settings.items()
    ):
        time.sleep(0.01)
