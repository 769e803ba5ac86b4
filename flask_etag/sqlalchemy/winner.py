"""The other writer, which was first: what the database tells of it, and how to wait until it is done."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapper, Session

from flask_etag.sqlalchemy import locks
from flask_etag.sqlalchemy.refusals import is_refusal, is_still_locked, undoes_everything

PAUSES = (0, 0.02, 0.1)
"""How long to wait before judging again, in seconds. Each time the database itself waits for the winner, by a lock
on the row; but where two were making it and MariaDB ended one of them as a deadlock, there is none yet to lock."""


class Winner:
    """The other writer, if there is one."""

    has_undone = False  # whether a transaction of ours is rolled back that is still thought to go on
    is_unknown = False  # whether it is making the row, so that it cannot be waited for
    was_waited_for = False  # and is at it still
    _was_met = False  # by a statement that was refused, after which the view may have gone on

    def note(self, error: BaseException | None) -> None:
        """Take note of what the database has answered to a statement."""
        if error is not None and is_refusal(error):
            self._was_met = True
            self.has_undone = self.has_undone or undoes_everything(error)

    def is_behind(self, error: Exception) -> bool:
        """Tell whether it is the reason for an error that ends the view."""
        return is_refusal(error) or self.has_undone or (self._was_met and isinstance(error, DBAPIError))

    def wait_for(self, session: Session, mapper: Mapper[Any], key: tuple[Any, ...] | None) -> None:
        """Wait until it is done, once; what is refused even then is judged by what can be read without.

        :raises DBAPIError: if it was waited for in vain.
        """
        if self.was_waited_for:
            return
        try:
            locks.wait_for_the_winner(session, mapper, key)
        except DBAPIError as error:
            self.was_waited_for = is_still_locked(error)
            raise
