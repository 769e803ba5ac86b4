"""The claim to a row as what it is: a stack of states, without a database."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flask_etag.sqlalchemy.claims import ABSENT, UNREAD, Claim, Known

FIRST, SECOND, THIRD = Known("first", '"1"'), Known("second", '"2"'), Known("third", '"3"')
OURS, ANOTHER = object(), object()


@pytest.fixture
def claim() -> Claim:
    return Claim(FIRST)


def test_what_was_judged_is_expected_and_not_held(claim: Claim) -> None:
    assert (claim.base, claim.expected) == (FIRST, FIRST)
    assert claim.connection is None
    assert not claim.is_pending
    assert not claim.has_committed


def test_what_is_locked_is_held_and_not_pending(claim: Claim) -> None:
    claim.push(OURS, 0, claim.expected)
    assert claim.connection is OURS
    assert claim.expected is FIRST
    assert not claim.is_pending


def test_what_is_written_is_expected_until_it_is_rolled_back(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    assert (claim.base, claim.expected, claim.is_pending) == (FIRST, SECOND, True)
    claim.roll_back(OURS)
    assert (claim.base, claim.expected, claim.is_pending) == (FIRST, FIRST, False)
    assert claim.connection is None


def test_what_was_written_last_is_expected(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    claim.push(OURS, 0, THIRD)
    assert claim.expected is THIRD
    claim.roll_back(OURS)
    assert claim.expected is FIRST


def test_what_is_written_back_as_it_was_is_not_pending(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    claim.push(OURS, 0, claim.base)
    assert claim.connection is OURS
    assert not claim.is_pending
    claim.commit(OURS)
    assert not claim.has_committed


def test_a_state_that_reads_the_same_as_the_base_and_was_written_is_pending(claim: Claim) -> None:
    """Which of two states is the base is told by what was read, not by what it happens to be equal to."""
    claim.push(OURS, 0, replace(FIRST))
    assert claim.is_pending


def test_a_lock_of_a_savepoint_ends_with_it(claim: Claim) -> None:
    claim.push(OURS, 1, claim.expected)
    claim.roll_back(OURS, 1)
    assert claim.connection is None


def test_a_lock_of_the_transaction_outlives_its_savepoints(claim: Claim) -> None:
    claim.push(OURS, 0, claim.expected)
    claim.push(OURS, 1, SECOND)
    claim.roll_back(OURS, 1)
    assert claim.connection is OURS
    assert claim.expected is FIRST


def test_to_roll_back_a_savepoint_undoes_those_inside_it(claim: Claim) -> None:
    claim.push(OURS, 1, SECOND)
    claim.push(OURS, 3, THIRD)
    claim.roll_back(OURS, 2)
    assert claim.expected is SECOND
    claim.roll_back(OURS, 1)
    assert claim.expected is FIRST


def test_what_a_released_savepoint_has_written_is_of_the_one_around_it(claim: Claim) -> None:
    claim.push(OURS, 2, SECOND)
    claim.release(OURS, 2)
    assert claim.expected is SECOND
    claim.roll_back(OURS, 2)  # another savepoint of that depth
    assert claim.expected is SECOND
    claim.roll_back(OURS, 1)
    assert claim.expected is FIRST


def test_what_is_released_replaces_what_the_one_around_it_has_written(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    claim.push(OURS, 1, THIRD)
    claim.release(OURS, 1)
    assert claim.expected is THIRD
    claim.roll_back(OURS, 1)
    assert claim.expected is THIRD
    claim.roll_back(OURS)
    assert claim.expected is FIRST


def test_the_release_of_a_savepoint_in_which_nothing_was_done_changes_nothing(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    claim.release(OURS, 1)
    assert claim.expected is SECOND
    claim.roll_back(OURS)
    assert claim.expected is FIRST


def test_what_is_committed_is_the_base(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    claim.commit(OURS)
    assert (claim.base, claim.expected) == (SECOND, SECOND)
    assert claim.connection is None
    assert claim.has_committed
    claim.roll_back(OURS)
    assert claim.base is SECOND


def test_to_commit_what_was_only_locked_is_to_commit_nothing(claim: Claim) -> None:
    claim.push(OURS, 0, claim.expected)
    claim.commit(OURS)
    assert claim.base is FIRST
    assert not claim.has_committed


def test_a_commit_that_failed_was_none(claim: Claim) -> None:
    """Nor is there a transaction any more, whatever the driver thinks of that."""
    claim.push(OURS, 0, SECOND)
    claim.commit(OURS)
    assert claim.commit_failed(OURS)
    assert (claim.base, claim.expected, claim.has_committed) == (FIRST, FIRST, False)
    assert claim.connection is None


def test_a_commit_that_failed_and_had_only_locked_is_no_loss(claim: Claim) -> None:
    claim.push(OURS, 0, claim.expected)
    claim.commit(OURS)
    assert not claim.commit_failed(OURS)
    assert (claim.base, claim.connection, claim.has_committed) == (FIRST, None, False)


def test_a_second_commit_that_failed_leaves_the_first(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    claim.commit(OURS)
    claim.push(OURS, 0, THIRD)
    claim.commit(OURS)
    assert claim.commit_failed(OURS)
    claim.roll_back(OURS)
    assert (claim.base, claim.expected, claim.has_committed) == (SECOND, SECOND, True)


def test_a_commit_that_failed_and_had_nothing_of_the_row_leaves_what_was_committed_before(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    claim.commit(OURS)
    claim.commit(OURS)  # of other rows, by the same connection
    assert not claim.commit_failed(OURS)
    assert (claim.base, claim.expected, claim.has_committed) == (SECOND, SECOND, True)
    assert claim.connection is None


def test_p4_another_connection_neither_ends_nor_commits_anything(claim: Claim) -> None:
    claim.push(OURS, 1, SECOND)
    claim.release(ANOTHER, 1)
    claim.roll_back(ANOTHER)
    claim.commit(ANOTHER)
    assert not claim.commit_failed(ANOTHER)
    assert (claim.base, claim.expected, claim.has_committed) == (FIRST, SECOND, False)
    assert claim.connection is OURS
    claim.roll_back(OURS, 1)
    assert claim.expected is FIRST


def test_p4_another_connection_s_commit_that_failed_is_not_this_one_s(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    claim.commit(OURS)
    assert not claim.commit_failed(ANOTHER)
    assert (claim.base, claim.has_committed) == (SECOND, True)


def test_what_is_judged_anew_is_the_base(claim: Claim) -> None:
    claim.rebase(SECOND)
    assert (claim.base, claim.expected) == (SECOND, SECOND)
    claim.push(OURS, 0, THIRD)
    claim.rebase(FIRST)
    assert (claim.base, claim.expected) == (FIRST, THIRD)


def test_a_row_that_is_not_there_is_a_state_like_any_other(claim: Claim) -> None:
    claim.push(OURS, 0, Known(ABSENT))
    assert claim.expected.fingerprint is ABSENT
    claim.roll_back(OURS)
    assert claim.expected is FIRST
    claim.push(OURS, 0, Known(ABSENT))
    claim.commit(OURS)
    assert claim.base.fingerprint is ABSENT


def test_of_a_commit_of_which_nobody_knows_whether_it_was_done_nothing_is_known(claim: Claim) -> None:
    claim.push(OURS, 0, SECOND)
    claim.lose_sight()
    assert (claim.base.fingerprint, claim.base.etag) == (UNREAD, None)
    assert claim.expected is claim.base
    assert claim.connection is None


# Whatever is done, in whatever order.


@dataclass
class Whole:
    """All that one transaction can change, kept whole: whoever goes back copies it back."""

    known: Known
    is_held: bool = False
    savepoints: list[tuple[Known, bool]] = field(default_factory=list)

    def go_back(self, depth: int) -> None:
        self.known, self.is_held = self.savepoints[depth - 1]
        del self.savepoints[depth - 1 :]


class Transactions(RuleBasedStateMachine):
    """A naive model of a row: it copies everything at each savepoint, where the claim keeps what was done."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.base = self.new_state()
        self.claim = Claim(self.base)
        self.now = Whole(self.base)
        self.has_committed = False

    def new_state(self) -> Known:
        self.count += 1
        return Known(self.count)

    def depth_of(self, data: st.DataObject) -> int:
        return data.draw(st.integers(1, len(self.now.savepoints)), label="depth")

    @property
    def depth(self) -> int:
        return len(self.now.savepoints)

    @rule()
    def lock(self) -> None:
        self.claim.push(OURS, self.depth, self.claim.expected)
        self.now.is_held = True

    @rule()
    def write(self) -> None:
        self.now.known, self.now.is_held = self.new_state(), True
        self.claim.push(OURS, self.depth, self.now.known)

    @rule()
    def write_what_was_there(self) -> None:
        self.now.known, self.now.is_held = self.base, True
        self.claim.push(OURS, self.depth, self.claim.base)

    @rule()
    def begin_savepoint(self) -> None:
        self.now.savepoints.append((self.now.known, self.now.is_held))

    @precondition(lambda self: self.now.savepoints)
    @rule(data=st.data())
    def roll_back_savepoint(self, data: st.DataObject) -> None:
        depth = self.depth_of(data)
        self.claim.roll_back(OURS, depth)
        self.now.go_back(depth)

    @precondition(lambda self: self.now.savepoints)
    @rule(data=st.data())
    def release_savepoint(self, data: st.DataObject) -> None:
        depth = self.depth_of(data)
        self.claim.release(OURS, depth)
        del self.now.savepoints[depth - 1 :]

    @rule()
    def roll_back(self) -> None:
        self.claim.roll_back(OURS)
        self.now = Whole(self.base)

    @rule()
    def commit(self) -> None:
        self.claim.commit(OURS)
        self.has_committed = self.has_committed or self.now.known is not self.base
        self.base = self.now.known
        self.now = Whole(self.base)

    @rule()
    def commit_in_vain(self) -> None:
        """What the claim says of it is whether a change of the row is lost by that."""
        self.claim.commit(OURS)
        assert self.claim.commit_failed(OURS) == (self.now.known is not self.base)
        self.now = Whole(self.base)

    @rule(depth=st.integers(0, 3), verb=st.sampled_from(["roll_back", "release", "commit", "commit_failed"]))
    def be_another_connection(self, depth: int, verb: str) -> None:
        if verb == "roll_back":
            self.claim.roll_back(ANOTHER, depth)
        elif verb == "release":
            self.claim.release(ANOTHER, depth)
        elif verb == "commit":
            self.claim.commit(ANOTHER)
        else:
            assert not self.claim.commit_failed(ANOTHER)

    @invariant()
    def the_claim_says_what_the_model_says(self) -> None:
        assert self.claim.base is self.base
        assert self.claim.expected is self.now.known
        assert self.claim.is_pending == (self.now.known is not self.base)
        assert (self.claim.connection is OURS) == self.now.is_held
        assert self.claim.has_committed == self.has_committed


TestTransactions = Transactions.TestCase
TestTransactions.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
