from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import galera, mariadb, unavailable
from tests.servers.galera import Node


@pytest.fixture(scope="session")
def nodes() -> Iterator[list[Node]]:
    try:
        with galera.running() as nodes:
            yield nodes
    except mariadb.MariaDBMissingError:
        unavailable("MariaDB with Galera", "apt-get install mariadb-server galera-4 rsync")
