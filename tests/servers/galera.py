"""A real Galera cluster of MariaDB for the tests: three nodes, each of which can be written to.

Clients reach a node by its Unix socket, as the single MariaDB of the tests; nodes reach each other by free ports
of the loopback interface. All begin with a copy of the same data, so that nothing has to be transferred at first.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql

from tests.servers import mariadb
from tests.servers.mariadb import Home

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
OPTIONS = [
    "--binlog-format=ROW",
    "--innodb-autoinc-lock-mode=2",
    "--innodb-buffer-pool-size=32M",
    "--innodb-lock-wait-timeout=10",
    "--wsrep-on=ON",
    f"--wsrep-provider={PROVIDER}",
    "--wsrep-cluster-name=tests",
    "--wsrep-node-address=127.0.0.1",
    "--wsrep-slave-threads=1",
    "--wsrep-sst-method=rsync",
]
# A node that hangs is given up after a second or two, where the default is five: machines of tests are near.
EVICTION = (
    "evs.keepalive_period=PT0.3S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;evs.install_timeout=PT4S"
)
WAIT = 60  # seconds, after which a node that is not ready is given up


class Node:
    """One node of a cluster.

    :ivar home: the folder in which it works.
    """

    def __init__(self, home: Home, port: int) -> None:
        self.home = home
        self.port = port
        self.peers = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of it: an answer that does not come within seconds is given up, as it has to be."""
        return f"{self.home.url}&read_timeout=8&write_timeout=8&connect_timeout=4"

    def start(self, *arguments: str) -> None:
        """Start it, also after it was killed; wait until it takes part."""
        provider = [
            f"base_port={self.port}",
            f"gmcast.listen_addr=tcp://127.0.0.1:{self.port}",
            f"ist.recv_addr=127.0.0.1:{self.port + 1}",
            f"gcache.dir={self.home.data}",
            "gcache.size=32M",
            EVICTION,
        ]
        options = [
            *OPTIONS,
            f"--wsrep-node-name={self.port}",
            f"--wsrep-sst-receive-address=127.0.0.1:{self.port + 2}",
            f"--wsrep-provider-options={';'.join(provider)}",
        ]
        position = self._position(options)
        self._process = self.home.serve(
            *options, f"--wsrep-cluster-address=gcomm://{self.peers}", *position, *arguments
        )
        self.wait_until_synced()

    def _position(self, options: list[str]) -> list[str]:
        """Return where its data is, if it was killed: it would ask for all of it otherwise."""
        state = self.home.data / "grastate.dat"
        if not state.exists() or "seqno:   -1" not in state.read_text():
            return []
        before = len(self.home.log.read_text())
        self.home.start(mariadb.SERVER, *options, "--wsrep-recover").wait(WAIT)
        found = re.findall(r"Recovered position:? *(\S+)", self.home.log.read_text()[before:])
        return [f"--wsrep-start-position={found[-1]}"] if found else []

    def ask(self, *statements: str) -> Any:
        """Send it statements, on a connection of their own; return the last column of the last one's first row."""
        with pymysql.connect(
            user="root", unix_socket=str(self.home.address), database="test", autocommit=True, read_timeout=8
        ) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            row = cursor.fetchone()
            return row[-1] if row else None

    def status(self) -> str:
        """Return what it says of its state, ``Synced`` where it is ready; nothing where it does not answer."""
        try:
            return str(self.ask("SHOW STATUS LIKE 'wsrep_local_state_comment'"))
        except pymysql.Error:
            return ""

    def catch_up(self) -> None:
        """Wait until it has what the others have written by now."""
        self.ask("SET SESSION wsrep_sync_wait = 1", "SELECT 1")

    def wait_until_synced(self) -> None:
        """Wait until it takes part.

        :raises RuntimeError: if it does not, in time.
        """
        deadline = time.monotonic() + WAIT
        while self.status() != "Synced":
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.home.log.read_text()[-8000:])
            time.sleep(0.05)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, of whatever state."""
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self.process.kill()
        self.process.wait(WAIT)

    def freeze(self) -> None:
        """Let it do nothing any more, and not answer."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, in whatever state it is."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.kill()


@contextmanager
def running(count: int = 3) -> Iterator[list[Node]]:
    """Start a cluster; yield its nodes.

    :raises tests.servers.mariadb.MariaDBMissingError: if there is no MariaDB, or no Galera.
    """
    if not PROVIDER.exists():
        raise mariadb.MariaDBMissingError(str(PROVIDER))
    with ExitStack() as stack:
        first = stack.enter_context(mariadb.made())
        homes = [first]
        for number in range(1, count):
            path = first.path / str(number)
            path.mkdir(mode=0o755)
            homes.append(replace(first, path=path))
        nodes = [Node(home, port) for home, port in zip(homes, _free_ports(count), strict=True)]
        for node in nodes:
            node.peers = ",".join(f"127.0.0.1:{other.port}" for other in nodes if other is not node)
            stack.callback(node.stop)
        nodes[0].start("--wsrep-new-cluster", f"--init-file={first.path / 'first.sql'}")
        nodes[0].process.terminate()
        nodes[0].process.wait(WAIT)
        for node in nodes[1:]:
            shutil.copytree(first.data, node.home.data, ignore=shutil.ignore_patterns("galera.cache", "*.pem"))
            if first.account is not None:
                for path in (node.home.data, *node.home.data.rglob("*")):
                    shutil.chown(path, first.account)
            state = node.home.data / "grastate.dat"
            state.write_text(state.read_text().replace("safe_to_bootstrap: 1", "safe_to_bootstrap: 0"))
        nodes[0].start("--wsrep-new-cluster")
        for node in nodes[1:]:
            node.start()
        yield nodes


def _free_ports(count: int) -> list[int]:
    """Return ports of which each has two more that are free behind it.

    They are below those that the system gives to whoever connects: while a node is away, its port would be taken.
    """
    found: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(range(20000, 32000, 3), 1000):
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            with suppress(OSError):
                for number, each in enumerate(sockets):
                    each.bind(("127.0.0.1", port + number))
                found.append(port)
            if len(found) == count:
                break
    return found
