"""Sessions of PostgreSQL that outlive a connection: each is a process of the server, and slow at its beginning."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any

from psycopg import Connection, pq

_spare: defaultdict[tuple[int, str], list[pq.abc.PGconn]] = defaultdict(list)


class KeptConnection(Connection[Any]):
    """A connection that, when it is closed, leaves its session to the next one with the same parameters.

    DISCARD ALL makes the session as new, and the driver and SQLAlchemy see a connection that is new. A session
    that is not idle, or no longer answers, is closed.
    """

    _parameters = ""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Any:
        spare = _spare[os.getpid(), conninfo]  # a process that is forked has its own
        while spare:
            if _does(session := spare.pop(), b"", pq.ExecStatus.EMPTY_QUERY):
                made = cls(session)
                break
        else:
            made = yield from super()._connect_gen(conninfo)
        made._parameters = conninfo
        return made

    def close(self) -> None:
        session = self.pgconn
        if _does(session, b"DISCARD ALL", pq.ExecStatus.COMMAND_OK):
            self.pgconn = pq.PGconn()  # which is closed
            session.notice_handler = session.notify_handler = None
            _spare[os.getpid(), self._parameters].append(session)
        super().close()


def _does(session: pq.abc.PGconn, statement: bytes, status: pq.ExecStatus) -> bool:
    return session.transaction_status == pq.TransactionStatus.IDLE and session.exec_(statement).status == status
