"""What must not have happened: the promises, as far as a stranger can see them from outside.

It knows nothing of how the guard works. It reads what was answered, and what triggers of the database have noted:
every change of the target that was committed, in its order, and on whose connection it came.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from search.models import KINDS
from search.outcomes import VIEW, Change, Mishap, Outcome
from search.steps import Step, heads, parts
from search.trial import LAST, Trial

BRINGS_NO_VERSION = {"text", "upsert", "cte", "returning", "raw"}
QUIET = (
    *("rival", "flush", "commit", "rollback", "query", "try", "savepoint", "no_autoflush"),
    *("expire", "again", "refresh", "second target", "second read"),
    *(f"listen {moment} read" for moment in ("before_flush", "after_flush", "before_commit", "after_commit")),
)
LOCKED = (
    "database is locked",
    "lock timeout",
    "Lock wait timeout",
    "could not serialize access due to concurrent",
)
SET_BACK = {"set version", "merge old", "merge kept"}
GONE = ("ObjectDeletedError", "NoResultFound", "InvalidRequestError: Could not refresh instance")


@dataclass(frozen=True)
class Violation:
    """One promise that was broken.

    :ivar rule: which one, in words.
    :ivar detail: what tells findings under this rule apart, without the values of a trial.
    """

    rule: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.rule}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True)
class Evidence:
    """All that is known of a trial.

    :ivar control: the view undecorated, without rivals.
    :ivar raced: the view undecorated, with its rivals, where it has any and the guard is not to help against them.
    :ivar sent: the view undecorated, without rivals, that flushes at its end as the guard does, where that answers
        otherwise.
    """

    trial: Trial
    outcome: Outcome
    control: Outcome
    raced: Outcome | None = None
    sent: Outcome | None = None

    @property
    def foreign(self) -> list[Change]:
        """Return the changes of the target that others have committed."""
        return [change for change in self.outcome.changes if change.actor != VIEW]

    @property
    def had_rivals(self) -> bool:
        """Say whether there was anybody else."""
        return bool(self.outcome.rivals) or "die" in heads(self.trial.steps)

    @property
    def is_unanswered(self) -> bool:
        """Say whether ``after_request`` commits what the view itself says that it has not done.

        Of an answer that is no 2xx nothing is flushed before it is settled, and what is committed afterwards is
        outside the promise.
        """
        return self.trial.later and self.trial.ending not in ("200", "204")

    @property
    def was_raced(self) -> bool:
        """Say whether somebody else changed the target before the view had ended."""
        others = ("reads",) if self.trial.form == "batch" else ("reads", "sibling")
        return bool(self.foreign) and any(
            rival.status == 200 and not rival.waited and not rival.kind.startswith(others)
            for rival in self.outcome.rivals
        )

    @property
    def more_swallowed(self) -> list[Mishap]:
        """Return the errors that the view has swallowed, and does not meet where it is alone."""
        alone = Counter(mishap.name for mishap in self.control.swallowed)
        more = []
        for mishap in self.outcome.swallowed:
            if alone[mishap.name]:
                alone[mishap.name] -= 1
            else:
                more.append(mishap)
        return more

    @property
    def went_another_way(self) -> bool:
        """Say whether the view has not met an error that it swallows where nothing guards it.

        The guard lets it go on from what the request itself has left, where SQLAlchemy alone finds that stale.
        """
        names = [Counter(mishap.name for mishap in each.swallowed) for each in (self.control, self.outcome)]
        return bool(names[0] - names[1])


Rule = Callable[[Evidence], Iterator[Violation]]
RULES: list[Rule] = []


def rule(check: Rule) -> Rule:
    """Register a rule."""
    RULES.append(check)
    return check


def judge(evidence: Evidence) -> list[Violation]:
    """Return all that a trial shows to be broken."""
    return [violation for check in RULES for violation in check(evidence)]


@rule
def what_is_written_builds_on_what_was_judged(of: Evidence) -> Iterator[Violation]:
    """Promise 1: the view changes the state that it was judged by, or the one that it itself has left."""
    if not of.trial.is_enforced or (of.trial.form == "star" and of.trial.early):
        return
    if of.is_unanswered or of.outcome.changed_later or _writes_in_the_loader(of.trial) or _counts_anew(of):
        return
    steps = set(heads(of.trial.steps))
    if "set key" in steps and steps & {"merge", "add"}:
        return  # what it writes under the old key is none of what the request names, as the documentation says
    others: set[bool] = set()
    for change in of.outcome.changes:
        if change.actor != VIEW:
            others.add(change.is_of_sibling)
        elif change.is_of_sibling in others:
            if of.outcome.is_accepted:
                yield Violation("lost update", "both are accepted")
            else:
                yield Violation("lost update", f"the view's answer is a {of.outcome.status // 100}xx")
            return


@rule
def so_is_what_a_rival_writes(of: Evidence) -> Iterator[Violation]:
    """Promise 1, from the other side: a guarded rival does not write over the view."""
    if of.trial.form == "get" or _is_left_to_the_view(of) or _counts_anew(of):
        return  # a GET that writes is not guarded, and its statements move no version
    changes = [change for change in of.outcome.changes if not change.is_of_sibling]
    for rival in of.outcome.rivals:
        if rival.base is None or rival.status != 200:
            continue
        own = [
            number
            for number, change in enumerate(changes)
            if change.actor != VIEW
            and (change.kind == "D" if rival.kind.startswith("delete") else rival.text in change.becomes)
        ]
        if own and any(change.actor == VIEW for change in changes[rival.base : own[0]]):
            yield Violation("lost update", "the rival writes over the view")


def _counts_anew(of: Evidence) -> bool:
    """Say whether the row was deleted and made again, and its version counts from 1: then it can repeat."""
    kinds = [change.kind for change in of.outcome.changes if not change.is_of_sibling]
    return of.trial.kind == "integer" and "D" in kinds and "I" in kinds[kinds.index("D") :]


@rule
def who_is_refused_leaves_nothing(of: Evidence) -> Iterator[Violation]:
    """Promise 2: a refusal leaves nothing of the target behind, except where it says so."""
    is_by_hook = of.trial.early == "unsent" and len(of.outcome.changes_of(VIEW)) == 1
    if of.outcome.changed_later or (is_by_hook and _sends_before_it_is_judged(of.trial)):
        return  # by a listener of a commit in after_request, when it was refused already; or by a hook, before it
    if _writes_in_the_loader(of.trial):
        return
    if of.trial.form == "get" and "expunge" in heads(of.trial.steps):
        return  # it has let go of what it was handed, so that nobody knows what it writes after that
    if of.outcome.is_refused and of.outcome.reason != "partial" and of.outcome.changes_of(VIEW):
        alone = "" if of.had_rivals else ", alone"
        yield Violation("refused, and the target was written", f"{of.outcome.status}{alone}")


def _sends_before_it_is_judged(trial: Trial) -> bool:
    """Say whether what a hook has changed is sent by the loader's SELECT: it is a part of what is judged then."""
    return trial.loader not in ("get", "cached") or "autocommit" in trial.database


def _writes_in_the_loader(trial: Trial) -> bool:
    """Say whether a listener that the view has armed writes when the loader commits, which is outside the view."""
    return trial.loader == "committing" and any(head.startswith("listen ") for head in heads(trial.steps))


@rule
def a_part_is_what_was_committed(of: Evidence) -> Iterator[Violation]:
    """A 409 says "partial" only where a part of the write was committed."""
    if "bulk all" in heads(of.trial.steps):
        return  # it has written the other rows of the table
    if of.outcome.reason == "partial" and not of.outcome.changes_of(VIEW) and not _may_move_alone(of.trial):
        yield Violation("partial, and nothing was committed")


def _may_move_alone(trial: Trial) -> bool:
    """Say whether a version can have moved, and no content."""
    return bool({"touch", "set same", "upsert nothing"} & set(heads(trial.steps)))


@rule
def a_refusal_is_answered_as_one(of: Evidence) -> Iterator[Violation]:
    """Promise 2: who is answered 2xx has written what it wanted to, whatever the view swallowed."""
    if not (of.trial.is_enforced and of.outcome.is_accepted and of.control.is_accepted and of.was_raced):
        return
    if of.outcome.gone or of.outcome.has_advice or of.outcome.changes_of(VIEW):
        return
    more = of.more_swallowed
    if "die" in heads(of.trial.steps) and not of.control.changes_of(VIEW):
        return  # the deadlock is one of other rows, and nothing was to be written
    writes = [head for head in heads(of.trial.steps) if not head.startswith(QUIET)]
    if writes and all(head.startswith("part ") for head in writes):
        return  # it has read what belongs to the row after the rival, and there was nothing left to be written
    if any(each.is_refusal and not (each.is_of_merge or each.is_of_locked_read) for each in more):
        yield Violation("accepted, and its write is nowhere", "the refusal was swallowed")
    elif of.trial.creates and any(mishap.name == "IntegrityError" for mishap in more):
        yield Violation("accepted, and its write is nowhere", "the unique violation was swallowed")
    elif of.trial.creates and (of.went_another_way or {"merge", "expire all"} <= set(heads(of.trial.steps))):
        return  # merge() has found the rival's row, say, and refresh() has dropped what the view changed of it
    elif not more and of.control.changes_of(VIEW):
        yield Violation("accepted, and its write is nowhere", "nothing was refused")


@rule
def what_cannot_be_committed_is_refused(of: Evidence) -> Iterator[Violation]:
    """A COMMIT that fails is a refusal too, whatever the view makes of that: a reader kept SQLite from it."""
    outcome = of.outcome
    if not (of.trial.is_enforced and outcome.is_accepted and of.control.changes_of(VIEW)) or outcome.has_advice:
        return
    if outcome.changes_of(VIEW) or of.foreign or outcome.is_pending:
        return
    if any("database is locked" in mishap.text and mishap.is_of_commit for mishap in of.more_swallowed):
        yield Violation("accepted, and its write is nowhere", "COMMIT has failed")


@rule
def what_was_judged_still_is_when_it_counts(of: Evidence) -> Iterator[Violation]:
    """A request that writes other rows only is held to the state that it was judged by."""
    if not (of.trial.is_enforced and of.outcome.is_accepted and of.was_raced) or of.outcome.changes_of(VIEW):
        return
    if of.trial.creates:
        return  # there is no row that could be held
    steps = list(heads(of.trial.steps))
    harmless = ("other", "flush", "query", "rival", "set same", "commit")
    if not all(head.startswith(harmless) for head in steps) or not any(head.startswith("other") for head in steps):
        return
    if of.trial.form == "batch" or "rival reads" in steps:
        return
    commits = [number for number, head in enumerate(steps) if head == "commit"]
    rivals = [number for number, head in enumerate(steps) if head.startswith("rival")]
    others = [number for number, head in enumerate(steps) if head.startswith("other")]
    if len(commits) > 1 or (not commits and not of.trial.later):
        return
    if (not commits or rivals[:1] < commits[:1]) and (not commits or max(others) < commits[0]):
        yield Violation("other rows were written by a state that was gone")


@rule
def alone_it_is_as_undecorated(of: Evidence) -> Iterator[Violation]:
    """Where nobody else is, the guard changes nothing: neither the status nor any row."""
    if of.had_rivals or of.outcome.has_advice or of.control.status >= 500 or _is_for_the_application(of):
        return
    outcome, control = of.outcome, of.control
    if of.went_another_way and not (outcome.error is not None and outcome.error.is_ours):
        return
    if _writes_in_the_loader(of.trial):
        return
    if of.trial.form == "insist" and of.is_unanswered and _commits(of.trial):
        return  # it has committed once, so that what it leaves after that is rolled back, as the page says
    if of.trial.form == "get" and "autocommit" in of.trial.database and outcome.swallowed:
        return  # what was sent before the error is there for good, and what was not is for the view to know
    if of.trial.kind.startswith("joined") and "set key" in heads(of.trial.steps):
        return  # SQLAlchemy moves one of the tables, and loses the row of the other where no foreign key cascades
    if outcome.is_refused:
        if _meets_itself(of) or _makes_and_undoes(of.trial):
            return
        if _is_by_two(of.trial) and of.trial.database == "postgresql, serializable":
            return  # its two transactions can meet by what they read, and the guard's SELECT is a read more
        if not (_may_be_refused_alone(of.trial) or _waits_for_itself(of) or _is_by_chance(of.trial)):
            yield Violation("refused, and there was nobody", f"{outcome.status}")
    elif outcome.status != control.status:
        if _is_stale_to_itself(of):
            return  # the guard's page says so: a statement moves the version, so that what was kept is older
        if of.sent is not None and of.sent.status == outcome.status:
            return  # only the guard sends what the view has left unsent
        if "expunge" in heads(of.trial.steps) and outcome.error is not None and outcome.error.is_of_another_object:
            return  # what the view has let go of, and attaches again by a list, was loaded for the ETag meanwhile
        if outcome.status >= 500:
            yield Violation("5xx", _named(outcome))
        else:
            yield Violation("answered otherwise", f"{outcome.status} for {control.status}")
    elif _met(outcome) != _met(control):
        return  # what the view met is not the same, so that it went on in another way
    elif "expunge" in heads(of.trial.steps) or _shows_an_older_list(of.trial):
        return  # what is flushed before depends on what is loaded already, which the guard may change
    elif _is_by_chance(of.trial):
        return
    elif outcome.swallowed and re.sub(r"\d+", "", f"{outcome.rows}") == re.sub(r"\d+", "", f"{control.rows}"):
        if re.sub(r"\d+", "", outcome.last_content) != re.sub(r"\d+", "", control.last_content):
            yield Violation("the target is not as it would be")  # values are counted: not each may have been made
    elif outcome.rows != control.rows:
        yield Violation("other rows are not as they would be")
    elif outcome.last_content != control.last_content:
        yield Violation("the target is not as it would be")


def _commits(trial: Trial) -> bool:
    """Say whether the view commits anything, be it by a session or a connection of its own."""
    return any(head == "commit" or head.startswith(("second ", "raw ")) for head in heads(trial.steps))


def _makes_and_undoes(trial: Trial) -> bool:
    """Say whether a creating view deletes what it has made, or commits it within a savepoint's block.

    That it is refused is documented: the object is in the session by then, or nobody knows what it has left.
    """
    steps = list(heads(trial.steps))
    blocks = [inner or [] for head, inner in map(parts, trial.steps) if "savepoint" in head]
    commits_inside = any("commit" in heads(inner) for inner in blocks)
    return trial.creates and (commits_inside or any(head.endswith(" delete") for head in steps))


def _shows_an_older_list(trial: Trial) -> bool:
    """Say whether the view goes by a list that was loaded before a second session changed that."""
    steps = list(heads(trial.steps))
    goes_by_list = any(head.startswith("part ") or head == "delete" for head in steps)
    return bool(KINDS[trial.kind].parts) and bool({"second part", "second merge"} & set(steps)) and goes_by_list


def _is_by_chance(trial: Trial) -> bool:
    """Say whether two objects of one key are flushed in either order, or a kept collection is shown once more.

    After a commit the guard has read anew what belongs to the row, so that a view which goes by what it has kept
    of that changes the next one, and not again the one that is gone; and what a statement has changed behind the
    session is known to that.
    """
    steps = list(heads(trial.steps))
    if trial.creates and "listen after_insert core" in steps and "merge" in steps:
        return True
    if (
        not trial.expire
        and "merge kept" in steps
        and any(head.startswith(("bulk", "core", "text")) for head in steps)
    ):
        return True
    goes_on = not trial.expire and sum(head.startswith("part ") for head in steps) > 1 and "commit" in steps
    is_merged_anew = trial.creates and "again" in steps and "merge" in steps  # into what was read anew meanwhile
    return goes_on or is_merged_anew or ("delete add" in steps and "add" in steps)


def _waits_for_itself(of: Evidence) -> bool:
    """Say whether the view keeps itself from its write, also without the guard, and swallows what says so.

    Then its write is nowhere, and its 2xx was a lie: one of its sessions keeps another from a row, or from the
    file of SQLite; or it changes what it has deleted. So it is where it would fail, if it sent what it has left.
    Without a write-ahead log the guard's own look into a transaction that is open keeps another connection of the
    view's from the file: that is refused, and not lost.
    """
    has_one_lock = of.trial.database in ("sqlite", "sqlite, real begins") or of.trial.loader == "locking"
    if of.trial.creates and has_one_lock and _is_by_two(of.trial):
        return True
    sent = of.sent.error if of.sent is not None else None
    met = [*of.control.swallowed, *([sent] if sent is not None else [])]
    is_gone = {"StaleDataError", "ObjectDeletedError"}
    return any(each.name in is_gone or any(reason in each.text for reason in LOCKED) for each in met)


def _is_stale_to_itself(of: Evidence) -> bool:
    """Say whether merge() was given an older version, and nobody else has made another one."""
    error = of.outcome.error
    return error is not None and error.is_of_merge


def _meets_itself(of: Evidence) -> bool:
    """Say whether the view writes on what it has deleted, or changed where its own transaction cannot see it."""
    changes = of.outcome.changes
    if of.outcome.reason != "partial" or not changes:
        return False
    return changes[-1].kind == "D" or (_is_by_two(of.trial) and "read committed" not in of.trial.database)


def _is_by_two(trial: Trial) -> bool:
    """Say whether the view has a session or a connection of its own besides the application's."""
    return any(head.startswith(("second ", "raw ")) for head in heads(trial.steps))


def _met(outcome: Outcome) -> list[tuple[str, int]]:
    """Return what the view has swallowed, and where."""
    return [(mishap.name, mishap.step) for mishap in outcome.swallowed]


def _may_be_refused_alone(trial: Trial) -> bool:
    """Say whether the version does not move, or is set back by hand, and that is documented."""
    kind = KINDS[trial.kind]
    words = {head.split()[0] for head in heads(trial.steps)}
    return (
        kind.by_hand
        or trial.early == "unsent"  # it is judged by what the hook has made of it, in memory or by autoflush
        or (trial.kind == "triggered" and any("delete" in head for head in heads(trial.steps)))  # counts anew
        or (trial.kind == "column" and bool(words & (BRINGS_NO_VERSION | {"set", "merge"})))
        or (kind.version not in (None, "version") and bool(SET_BACK & set(heads(trial.steps))))
    )


def _named(outcome: Outcome) -> str:
    if outcome.error is None:
        return "?"
    text = outcome.error.text.replace("(", " ").split()
    return f"{outcome.error.name}: {' '.join(word for word in text[:5] if not any(map(str.isdigit, word)))}"


@rule
def our_own_code_does_not_fail(of: Evidence) -> Iterator[Violation]:
    """What fails in code of ours, or in SQL that no step has written, fails without a control to tell it."""
    error = of.outcome.error
    if error is None or error.is_advice or of.control.status < 500:
        return
    if error.name == "ValueError" and "touch" in heads(of.trial.steps):
        return  # what it says of an object in no session
    if of.trial.kind.startswith("xmin") and SET_BACK & set(heads(of.trial.steps)):
        return  # merge() has set what no application can set, after the view's own connection has moved it
    if of.control.error is not None and of.control.error.text == error.text:
        return
    if error.name == "ProgrammingError" or (error.is_ours and not error.is_refusal):
        yield Violation("5xx of our own", _named(of.outcome))


@rule
def no_5xx(of: Evidence) -> Iterator[Violation]:
    """A race is never a 5xx, except where a view reads what is no longer there."""
    if not of.had_rivals or of.outcome.status < 500 or of.outcome.has_advice or of.control.status >= 500:
        return
    if "autocommit" in of.trial.database and not of.trial.is_enforced:
        return  # nothing guards it, and it is not refused either
    error = of.outcome.error
    if of.went_another_way and error is not None and not (error.is_refusal or error.is_ours):
        return  # it has come to what fails there too, since no refusal of SQLAlchemy's has kept it from that
    is_alone = not (of.foreign and of.trial.is_enforced)
    if _would_fail_anyway(of) or _is_for_the_application(of) or (_is_stale_to_itself(of) and is_alone):
        return
    name = _named(of.outcome)
    if error is not None and error.name == "InternalError" and "die" in heads(of.trial.steps):
        return  # PostgreSQL takes nothing more after the error that the view has swallowed
    if not name.startswith(GONE):
        yield Violation("5xx", name)


def _is_for_the_application(of: Evidence) -> bool:
    """Say whether the commit in ``after_request`` failed where the guard can do nothing about it.

    What the database refuses at COMMIT alone (PostgreSQL at SERIALIZABLE, say) it has not refused to the flush.
    And on SQLite a row without a version is held, with all of its file, until the request ends: a session of its
    own that a listener commits then waits for that in vain. In the view the guard tells what to do about it.
    """
    error = of.outcome.error
    if not of.outcome.failed_later or error is None:
        return False
    if error.name == "PendingRollbackError" and not of.trial.is_enforced:
        return True  # it was the flush that has failed, before the answer: a rival has deleted the row
    return of.is_unanswered or error.is_refusal or "database is locked" in error.text


def _would_fail_anyway(of: Evidence) -> bool:
    """Say whether a request fails without the guard too, where that is not to help against it."""
    if of.raced is None or of.raced.status < 500:
        return False
    if of.trial.form == "get":
        return True  # nothing is said of a GET that writes, and meets another writer
    if of.outcome.met_siblings_only and of.trial.form != "batch":
        return True
    if of.foreign and of.foreign[-1].kind == "D":
        return True  # no report can let pass a write of what is not there
    error = of.raced.error
    if error is not None and "database-loaded version" in error.text:
        return True  # SQLAlchemy's refusal to read a row anew under a lock, as the page on the roll-out says
    tables = [f" on table '{table.name}' " for table in KINDS[of.trial.kind].tables]
    if error is not None and " on table '" in error.text and not any(table in error.text for table in tables):
        return True  # a part or a link, which has no version that a report could let pass
    if {"bulk save", "bulk mappings"} & set(heads(of.trial.steps)):
        return True  # they have named the version before anybody is told of the statement
    return error is None or error.name != "StaleDataError"


@rule
def what_is_only_reported_is_not_refused(of: Evidence) -> Iterator[Violation]:
    """A roll-out breaks nobody."""
    if of.trial.is_enforced or not of.outcome.rivals or of.control.status >= 500:
        return
    if "autocommit" in of.trial.database or _meets_itself(of):
        return  # a statement has moved the version, and nothing holds it; or the view itself has deleted the row
    if of.trial.form == "get" and of.foreign:
        return  # of a read that writes and meets another writer, a 409 is what the documentation says
    if "serializable" in of.trial.database and any(rival.waited for rival in of.outcome.rivals):
        return  # there readers lock too, and of two that wait for each other either may be the victim
    if of.raced is not None and _moments(of.raced) != _moments(of.outcome):
        return  # on a busy machine, a rival is not always done in the time that it is waited for
    if "snapshot isolation" in of.trial.database and of.trial.kind == "joined":
        return  # the version is in the table that a statement does not write: the page on the roll-out says so
    if of.outcome.reason == "busy" and any(rival.kind == "reads" for rival in of.outcome.rivals):
        return  # SQLite cannot commit past who reads, with the guard or without
    if of.outcome.is_refused and not _would_fail_anyway(of):
        yield Violation("refused, where nothing protects", str(of.outcome.status))


def _moments(outcome: Outcome) -> list[tuple[str, int, bool]]:
    """Return what rivals have come to, and which were still at it when the view went on."""
    return [(rival.kind, rival.status, rival.waited) for rival in outcome.rivals]


@rule
def nobody_is_stale_by_himself(of: Evidence) -> Iterator[Violation]:
    """A 412 needs somebody who has changed the target."""
    if of.outcome.changes or not of.had_rivals or of.outcome.has_advice or of.control.status >= 500:
        return
    if of.trial.early == "unsent":
        return  # it is judged by what a hook of the application has made of it in memory
    if of.trial.is_enforced and of.outcome.is_refused and of.outcome.status == 412:
        yield Violation("412, and nobody has changed the target")


@rule
def the_tag_is_of_what_is_left(of: Evidence) -> Iterator[Violation]:
    """Promise 3: the next GET gives the tag of a 2xx, and there is none where nothing is."""
    outcome = of.outcome
    if not outcome.is_accepted or outcome.etag is None or (outcome.changes and outcome.changes[-1].actor != VIEW):
        return
    if of.trial.form == "get" and (of.trial.later or "autocommit" in of.trial.database):
        return  # nothing has been committed, nor even sent, when a read is answered; or a ROLLBACK undoes nothing
    if of.trial.early == "unsent" and ("rollback" in heads(of.trial.steps) or outcome.swallowed):
        return  # it was judged by what a hook has changed, which the view has undone with the transaction
    if outcome.is_pending or outcome.changed_later:
        return  # it is of what was flushed: the application may commit that in after_request, and the log says so
    if any(rival.waited and 200 <= rival.status < 300 for rival in outcome.rivals):
        return  # who has waited for the view has written after it, though a part of that came before
    if outcome.last_status == 404:
        yield Violation("the tag of what is gone")
    elif outcome.last_status == 200 and outcome.etag != outcome.last_etag:
        if outcome.etag == outcome.first_etag:
            yield Violation("the tag of another state", "the old one")
        else:
            committed = outcome.changes_of(VIEW)
            yield Violation("the tag of another state", "" if committed else "nothing was committed")


def _is_left_to_the_view(of: Evidence) -> bool:
    """Say whether it is the view's affair that the version moves, and nothing refuses what it makes of that."""
    kind = KINDS[of.trial.kind]
    if of.trial.kind in ("column", "uuid", "programmatic") and SET_BACK & set(heads(of.trial.steps)):
        return True  # it can be compared with what was committed last, and not with all that it ever was
    if kind.by_hand and of.is_unanswered:
        return True  # nothing is guarded after the answer, and nothing refused that does not move it
    is_set_back = kind.version != "version" and bool(SET_BACK & set(heads(of.trial.steps)))
    return not of.trial.is_enforced and (kind.by_hand or of.trial.kind == "column" or is_set_back)


@rule
def another_state_has_another_tag(of: Evidence) -> Iterator[Violation]:
    """A version that does not move is refused."""
    outcome = of.outcome
    if of.trial.form == "get" or not outcome.first_etag or outcome.last_status != 200:
        return
    if _is_left_to_the_view(of) or of.is_unanswered or outcome.changed_later:
        return
    changes = [change for change in outcome.changes if not change.is_of_sibling]
    if not changes or changes[-1].actor != VIEW:
        return  # what others make anew may count from the first version on
    if "set key" in heads(of.trial.steps) and changes[-1].kind == "I":
        return  # nor is it looked at under the old key, as the documentation says
    if outcome.last_etag == outcome.first_etag and outcome.last_content != outcome.first_content:
        yield Violation("the tag has not moved", f"answered {outcome.status // 100}xx")


@rule
def all_is_written_or_nothing(of: Evidence) -> Iterator[Violation]:
    """A 2xx says that everything was written."""
    if not of.had_rivals or of.foreign or of.trial.form == "get":
        return
    if not (of.outcome.is_accepted and of.control.is_accepted) or of.outcome.has_advice or of.outcome.gone:
        return
    if "expunge" in heads(of.trial.steps):
        return  # what is flushed before depends on what another statement sends it with
    dies = _dies_by_itself(of.trial.steps)
    if "die" in heads(of.trial.steps) and not of.trial.is_enforced:
        return  # a deadlock has undone what was written before it, and nothing is refused where nothing protects
    if of.went_another_way or (of.more_swallowed and not dies):
        return
    if _shows_an_older_list(of.trial) or _is_by_chance(of.trial):
        return
    if of.outcome.last_content != of.control.last_content:
        yield Violation("accepted, and half of it is lost")


def _dies_by_itself(steps: list[Step]) -> bool:
    """Say whether a deadlock ends the transaction, and what is swallowed is nothing of the view's."""
    found = False
    for each in steps:
        head, inner = parts(each)
        if inner == ["die"] and head.startswith("try"):
            found = True
        elif inner is not None:
            return False
    return found


@rule
def what_comes_again_is_known_by_what_it_has_left(of: Evidence) -> Iterator[Violation]:
    """Rule 2.15: the same request is 2xx as long as its own write is the last one, and done once."""
    again, changes = of.outcome.again, of.outcome.changes
    if again is None or of.trial.early == "unsent" or of.outcome.has_advice or of.outcome.changed_later:
        return
    if not changes and of.outcome.last_etag != of.outcome.first_etag:
        return  # the version has moved, and nothing else, which no trigger sees
    is_taken_for_done = again.status // 100 == 2 and not again.runs
    if is_taken_for_done and again.changed:
        yield Violation("what comes again is written again", "without the view")
    if not changes or changes[-1].actor != VIEW:
        if is_taken_for_done:
            yield Violation("taken for done", "another was last" if changes else "nothing was")
    elif of.outcome.is_accepted and of.outcome.last_status == 200:
        if again.changed:
            yield Violation("done twice")
        elif _is_made_again_by_statements(of.trial):
            return  # deleted by a statement, and made again: that is documented as not known again
        elif not is_taken_for_done and of.trial.loader != "cached":  # which does not see what is there
            yield Violation("not known again", str(again.status))


def _is_made_again_by_statements(trial: Trial) -> bool:
    """Say whether the row may be deleted and made again, and a statement has a part in that."""
    steps = list(heads(trial.steps))
    is_by_flush = "delete" in steps and any(
        head.startswith(("text", "core", "bulk", "raw", "cte")) for head in steps
    )
    is_another = "set key" in steps  # what is under the old key by then is another row
    return is_by_flush or is_another or any(head.endswith(" delete") for head in steps)


@rule
def what_was_done_in_part_is_not_taken_for_done(of: Evidence) -> Iterator[Violation]:
    """Rule 2.15: nor where the guard gives advice, as that a view commits once."""
    again = of.outcome.again
    if again is None or of.outcome.status < 400 or of.outcome.changed_later or of.trial.later:
        return
    if any(head.startswith("listen after_commit") for head in heads(of.trial.steps)):
        return  # its session can load nothing, so that the version cannot be moved: the log says so
    if again.status // 100 == 2 and not again.runs:
        yield Violation("done in part is taken for done", str(of.outcome.status))


@rule
def nobody_hangs(of: Evidence) -> Iterator[Violation]:
    """All that wait are bounded."""
    if of.outcome.seconds > LAST:
        yield Violation("somebody hangs")


@rule
def the_view_runs_once(of: Evidence) -> Iterator[Violation]:
    """What is judged again is not run again."""
    if of.outcome.runs > 1:
        yield Violation("the view ran twice")


@rule
def no_rival_fails(of: Evidence) -> Iterator[Violation]:
    """A rival is a request too."""
    if "autocommit" in of.trial.database:
        return
    for rival in of.outcome.rivals:
        if rival.status >= 500:
            yield Violation("the rival's 5xx", rival.kind)


@rule
def every_connection_is_given_back(of: Evidence) -> Iterator[Violation]:
    """What the guard takes it gives back, with the end of the request at the latest."""
    if of.outcome.left_open > of.control.left_open:
        detail = "" if of.outcome.left_for_good > 0 else "until garbage is collected"
        yield Violation("a connection is not given back", detail)
