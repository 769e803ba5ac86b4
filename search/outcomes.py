"""What a request left behind: all that the oracle has to go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

VIEW, RIVAL, SETUP = "view", "rival", "setup"


@dataclass(frozen=True)
class Change:
    """One change of the target, or of its sibling, that was committed, as a trigger of the database has seen it.

    :ivar actor: whose connection it came on.
    :ivar kind: I, U or D.
    :ivar becomes: the row's content then; empty where it was deleted.
    """

    actor: str
    place: str
    kind: str
    was: str
    becomes: str
    is_of_sibling: bool = False


@dataclass(frozen=True)
class Mishap:
    """An error that the view swallowed, or that ended it.

    :ivar is_refusal: whether it says that another writer was first.
    :ivar is_of_commit: whether it is what the database says to COMMIT.
    :ivar is_ours: whether it was raised in code of ours.
    :ivar is_advice: whether it is a documented refusal of ours that says what to do.
    :ivar step: in which step it came, of those that were begun: the first is 1.
    """

    name: str
    text: str
    is_refusal: bool = False
    is_advice: bool = False
    is_ours: bool = False
    is_of_commit: bool = False
    step: int = 0

    @property
    def is_of_merge(self) -> bool:
        """Say whether ``merge()`` was given an older version: it compares in memory, and sends nothing."""
        return self.name == "StaleDataError" and "on merged state" in self.text

    @property
    def is_of_locked_read(self) -> bool:
        """Say whether what is loaded was read again under a lock, and is older: that is compared in memory too."""
        return self.name == "StaleDataError" and "database-loaded version id" in self.text

    @property
    def is_of_another_object(self) -> bool:
        """Say whether an object was to be attached to a session that has another one of its row."""
        return self.name == "InvalidRequestError" and self.text.startswith("Can't attach instance")


@dataclass
class RivalOutcome:
    """What became of a rival.

    :ivar kind: what it did.
    :ivar status: 0 where it is no request and failed.
    :ivar base: how many changes of the target had been committed when the state was read that it builds on; none
        where it builds on none.
    :ivar text: the value that it writes, if it writes one.
    :ivar waited: whether it had to wait for the view.
    """

    kind: str
    status: int = 0
    base: int | None = None
    text: str = ""
    waited: bool = False


@dataclass(frozen=True)
class Again:
    """What became of the very same request, sent once more.

    :ivar runs: how often the view ran.
    :ivar changed: whether it has changed the target.
    """

    status: int
    runs: int = 0
    changed: bool = False


@dataclass
class Outcome:
    """What a request left behind.

    :ivar reason: of a refusal of ours.
    :ivar error: what the 5xx was about.
    :ivar first_etag: the target's before the request.
    :ivar last_etag: the target's after it and after all rivals.
    :ivar first_content: of the target, before.
    :ivar last_content: of the target, after.
    :ivar rows: what is in all other tables, and in the target's other rows.
    :ivar is_pending: whether the answer was given with something of the target written and not committed.
    :ivar failed_later: whether the commit in ``after_request`` failed, when the answer was settled.
    :ivar changed_later: whether a listener of that commit changed the target.
    :ivar gone: whether the view saw that the row was no longer there.
    :ivar runs: how often the view ran.
    :ivar left_open: how many connections were not given back.
    :ivar left_for_good: how many of them not even once garbage was collected.
    :ivar again: of the same request, sent once more.
    """

    status: int
    etag: str | None = None
    reason: str | None = None
    error: Mishap | None = None
    swallowed: Sequence[Mishap] = ()
    changes: Sequence[Change] = ()
    rivals: Sequence[RivalOutcome] = ()
    first_etag: str | None = None
    last_etag: str | None = None
    last_status: int = 200
    first_content: str = ""
    last_content: str = ""
    rows: dict[str, list[str]] = field(default_factory=dict)
    is_pending: bool = False
    failed_later: bool = False
    changed_later: bool = False
    gone: bool = False
    runs: int = 1
    left_open: int = 0
    left_for_good: int = 0
    seconds: float = 0.0
    again: Again | None = None
    story: Sequence[str] = ()

    @property
    def is_accepted(self) -> bool:
        """Say whether it is a 2xx."""
        return 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """Say whether the guard has refused it."""
        return self.status in (409, 412, 428) and self.reason is not None

    @property
    def met_siblings_only(self) -> bool:
        """Say whether no rival was at the target: what the view meets in other rows is its own affair."""
        return all(rival.kind == "sibling" for rival in self.rivals)

    @property
    def has_advice(self) -> bool:
        """Say whether the guard raised one of its sentences, whoever swallowed it."""
        return any(mishap.is_advice for mishap in [*self.swallowed, *([self.error] if self.error else [])])

    def changes_of(self, actor: str) -> list[Change]:
        """Return the changes of one."""
        return [change for change in self.changes if change.actor == actor]
