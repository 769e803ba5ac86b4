"""The judge of histories: it has to object to every kind of bad one, not only to accept the good ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from flask_etag.torture.history import Operation, State, judge

FIRST = State(0, '"0"')
FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(start: float, number: int, **more: Any) -> Operation:
    """Return a read that lasts one tick."""
    given = {"status": 200, "etag": f'"{number}"', "end": start + 1, **more}
    return Operation(start=start, number=number, **given)


def write(start: float, number: int, status: int | None = 200, **more: Any) -> Operation:
    """Return a write that lasts one tick, and would make a state."""
    etag = f'"{number}"' if status == 200 else None
    given = {"base": f'"{number - 1}"', "etag": etag, "end": start + 1, **more}
    return Operation(start=start, number=number, writes=True, status=status, **given)


def kinds(*operations: Operation, last: int = 2, **how: Any) -> set[str]:
    return set(judge(operations, FIRST, State(last, f'"{last}"'), **how).kinds())


GOOD = [read(0, 0), write(2, 1), read(4, 1), write(6, 2), read(8, 2)]


def test_a_good_history_is_accepted() -> None:
    verdict = judge(GOOD, FIRST, State(2, '"2"'))
    assert not verdict.problems
    assert (verdict.accepted, verdict.lost) == (2, 0)


def test_two_accepted_writes_of_one_base_are_a_lost_update() -> None:
    verdict = judge([*GOOD, write(6.5, 2)], FIRST, State(2, '"2"'))
    assert "lost update" in verdict.kinds()
    assert verdict.lost == 1


def test_they_are_also_where_each_has_a_tag_of_its_own() -> None:
    assert "lost update" in kinds(*GOOD, write(6.5, 2, etag='"another"'))


def test_an_accepted_write_that_is_not_in_the_final_chain_is_lost() -> None:
    verdict = judge(GOOD, FIRST, State(1, '"1"'))
    assert "lost update" in verdict.kinds()
    assert verdict.lost == 1


def test_a_write_that_replaces_an_old_state_is_lost_with_what_it_overwrote() -> None:
    """The number goes back: 1, 2, 3, and then the slow writer's 2."""
    slow = write(3, 2, end=11, etag='"2b"')
    history = [write(0, 1), write(4, 2), write(6, 3), slow]
    assert judge(history, FIRST, State(2, '"2b"')).lost == 2


def test_a_write_under_an_unrelated_tag_is_noticed() -> None:
    assert "two tags of one state" in kinds(*GOOD[:3], write(6, 2, base='"elsewhere"'), GOOD[4])


def test_one_tag_for_two_states_is_noticed() -> None:
    assert "one tag of two states" in kinds(*GOOD[:3], write(6, 2, etag='"1"'), last=2)


def test_an_acknowledged_write_that_one_without_an_answer_overwrote_is_noticed() -> None:
    again = write(7, 2, None, end=9)
    assert "two tags of one state" in kinds(*GOOD, again, read(10, 2, etag='"2, again"'))
    assert "two tags of one state" in judge([*GOOD, again], FIRST, State(2, '"2, again"')).kinds()


def test_an_answer_without_a_tag_is_noticed() -> None:
    assert kinds(*GOOD[:3], write(6, 2, etag=None), GOOD[4]) == {"no tag"}
    assert kinds(*GOOD, read(10, 2, etag=None)) == {"no tag"}


def test_a_state_that_nobody_made_is_noticed() -> None:
    assert kinds(write(2, 1), read(8, 2)) == {"a state that nobody made"}


@pytest.mark.parametrize("took_effect", [True, False])
def test_a_write_without_an_answer_is_in_the_chain_or_is_not(took_effect: bool) -> None:
    verdict = judge([write(2, 1), write(6, 2, None)], FIRST, State(1 + took_effect, f'"{1 + took_effect}"'))
    assert not verdict.problems
    assert verdict.unknown == 1


def test_a_write_without_a_base_and_an_answer_fills_one_gap_and_no_two() -> None:
    blind = Operation(start=2, end=3, number=None, writes=True)
    assert kinds(blind, last=1) == set()
    assert kinds(blind, last=2) == {"a state that nobody made"}


def test_a_read_of_an_older_state_than_was_read_before_is_noticed() -> None:
    assert kinds(*GOOD, read(10, 1)) == {"out of order"}


def test_a_replica_may_be_behind_the_writes_but_not_behind_itself() -> None:
    behind = [write(2, 1), write(6, 2), read(10, 1), read(12, 2)]
    assert kinds(*behind, stale_reads=True) == set()
    assert kinds(*behind, write(14, 2, 412, etag='"2"'), stale_reads=True) == set()
    assert kinds(*behind, read(14, 1), stale_reads=True) == {"out of order"}
    assert kinds(*behind, write(14, 2, 412, etag='"1"'), stale_reads=True) >= {"out of order"}


def test_a_replica_shows_nothing_that_was_never_there() -> None:
    one = write(4, 1)
    assert kinds(one, read(6, 99), last=1, stale_reads=True) == {"a state outside the chain"}
    assert kinds(one, read(6, -5), last=1, stale_reads=True) == {"a state outside the chain"}
    assert kinds(one, read(0, 1), last=1, stale_reads=True) == {"a state of the future"}
    vanished = [one, write(6, 2, None), read(8, 2), read(10, 1)]
    assert kinds(*vanished, last=1, stale_reads=True) >= {"a state outside the chain"}


def test_a_read_that_does_not_see_an_acknowledged_write_is_noticed() -> None:
    assert kinds(write(2, 1), write(6, 2), read(8, 1)) == {"out of order"}


def test_reads_at_the_time_of_a_write_may_see_either_state() -> None:
    assert kinds(write(2, 1), write(6, 2, end=20), read(8, 1), read(10, 2)) == set()


def test_they_do_not_see_the_new_state_and_then_the_old() -> None:
    assert kinds(write(2, 1), write(6, 2, end=20), read(8, 2), read(10, 1)) == {"out of order"}


def test_a_read_of_what_is_not_yet_written_is_noticed() -> None:
    assert "a state of the future" in kinds(write(2, 1), read(4, 2), write(6, 2))
    assert "a state that nobody made" in kinds(write(2, 1), read(4, 2), write(6, 2, None))


def test_a_state_is_not_there_before_the_one_that_it_replaces() -> None:
    late = write(6, 2, None)
    assert "a state that nobody made" in kinds(write(0, 1), write(2, 3), late, last=3)
    assert "a state that nobody made" in kinds(write(0, 1), write(2, 3), read(4, 3), late, last=3)
    assert "a state of the future" in kinds(write(0, 1), write(2, 3), write(6, 2), last=3)


def test_a_write_without_a_base_fills_the_gap_that_another_came_too_late_for() -> None:
    blind = Operation(start=2, end=3, number=None, writes=True)
    assert kinds(blind, read(4, 1), write(6, 1, None), last=1) == set()


def test_an_accepted_write_on_what_was_not_there_yet_is_noticed() -> None:
    assert kinds(write(6, 1), write(2, 2)) == {"a state of the future"}


def test_an_accepted_write_on_what_was_replaced_before_it_was_sent_is_noticed() -> None:
    assert kinds(write(2, 1), read(4, 1), write(6, 1, None), write(6, 2)) == set()
    assert kinds(write(2, 1, end=20), read(4, 1), write(6, 2)) == set()
    assert "out of order" in kinds(write(2, 1, end=20), write(4, 2, end=20), read(5, 2), write(8, 2))


def test_a_refusal_needs_a_reason() -> None:
    assert kinds(*GOOD, write(6.5, 2, 412)) == set()
    assert kinds(write(1, 2, 412), *GOOD[1:]) == {"refused without a reason"}
    assert kinds(*GOOD, write(12, 3, 412)) == {"refused without a reason"}
    assert kinds(*GOOD, write(12, 3, 412), write(12, 3, None), last=3) == set()
    blind = Operation(start=2, end=3, number=None, writes=True, status=412)
    assert kinds(blind, last=0) == {"refused without a reason"}


def test_a_write_that_vanished_is_no_reason() -> None:
    assert kinds(*GOOD, write(12, 3, None), write(12, 3, 412)) == {"refused without a reason"}
    shown = write(14, 3, 412, etag='"3"')
    assert kinds(*GOOD, write(12, 3, None), shown) == {"refused without a reason", "a tag of no state"}


def test_what_was_replaced_for_a_refusal_is_not_read_again() -> None:
    assert kinds(write(2, 1), write(6, 2, end=20), write(8, 2, 412)) == set()
    assert kinds(write(2, 1), write(6, 2, end=20), write(8, 2, 412), read(10, 1)) == {"out of order"}


def test_a_refusal_names_the_tag_of_a_current_state() -> None:
    assert kinds(*GOOD, write(12, 2, 412, etag='"2"')) == set()
    assert kinds(*GOOD, write(12, 2, 412, etag='"0"')) == {"out of order"}
    assert "refused by its own tag" in kinds(*GOOD, write(6.5, 2, 412, etag='"1"'))


def test_a_refusal_names_the_tag_of_a_state_of_the_chain() -> None:
    assert kinds(*GOOD, write(12, 2, 412, etag='"no such state"')) == {"a tag of no state"}
    vanished = [write(2, 1, None), write(4, 1, 412, etag='"1a"'), write(6, 1), read(8, 1)]
    assert kinds(*vanished, last=1) == {"refused without a reason", "a tag of no state"}


def test_it_may_be_the_tag_of_a_state_that_nobody_else_saw() -> None:
    """A write without an answer made state 1, and one that does not know what it replaced made state 2."""
    unseen = [write(2, 1, None), write(20, 2, base=None)]
    shown = write(6, 1, 412, etag='"a"')
    assert kinds(*unseen, shown) == set()
    assert kinds(*unseen, shown, write(9, 1, 412, etag='"a"')) == set()
    assert kinds(*unseen, shown, write(9, 1, 412, etag='"b"')) == {"a tag of no state"}
    assert kinds(*unseen, shown, write(30, 1, 412, etag='"a"')) == {"a tag of no state"}
    assert kinds(*unseen, write(30, 1, 412, etag='"a"')) == {"a tag of no state"}
    assert kinds(*unseen, write(20, 1, 412, etag='"a"'), read(6, 1, etag='"c"')) == {"a tag of no state"}


def test_each_of_them_has_one_tag() -> None:
    blind = Operation(start=4, end=5, number=None, writes=True)
    unseen = [write(2, 1, None), blind, write(20, 3, base=None)]
    one, two, three = (write(6, 1, 412, etag=f'"{name}"') for name in "abc")
    assert kinds(*unseen, one, two, last=3) == set()
    assert kinds(*unseen, one, two, three, last=3) == {"a tag of no state"}


def test_no_server_error_is_accepted_where_nothing_is_broken_on_purpose() -> None:
    assert kinds(*GOOD, write(12, 3, 500)) == {"server error"}
    assert kinds(*GOOD, read(12, 2, status=503)) == {"server error"}
    assert kinds(*GOOD, write(12, 3, 500), faults=True) == set()


def test_with_faults_a_write_is_still_not_lost() -> None:
    assert "lost update" in kinds(*GOOD, write(6.5, 2), faults=True)


@pytest.mark.parametrize("status", [302, 400, 404, 428])
def test_no_other_answer_is_expected(status: int) -> None:
    assert kinds(*GOOD, read(12, 2, status=status)) == {"unexpected answer"}
    assert kinds(*GOOD, write(6.5, 2, status)) == {"unexpected answer"}


def test_what_makes_no_sense_is_noticed() -> None:
    assert "no sense" in kinds(*GOOD, read(12, 2, end=11))


def test_what_is_made_and_deleted_has_a_state_before_and_after() -> None:
    gone: dict[str, Any] = {"number": None, "status": 404, "etag": None}
    life = [
        replace(read(0, 0), **gone),
        write(2, 1, base=None),  # makes it, with If-None-Match: *
        write(2, 1, 412, base=None),
        write(4, 2, etag=None),  # deletes it
        replace(read(6, 0), **gone),
        write(8, 2, 404),
    ]
    before, after = State(0, None), State(2, None)
    assert not judge(life, before, after).problems
    between = replace(read(3.4, 0, end=3.5), **gone)
    assert judge([*life, between], before, after).kinds() == {"a state of the future": 1}
    assert judge([*life, read(8, 1)], before, after).kinds() == {"out of order": 1}
    twice = judge([*life, write(4.5, 2, etag=None)], before, after)
    assert twice.lost == 1


KNOWING = ["read", "write", "write", "lost"]
BLIND = [*KNOWING, "increased", "increased and lost"]  # by whoever does not know what was replaced


@st.composite
def histories(draw: st.DrawFn, kinds_drawn: list[str] = KNOWING) -> tuple[list[Operation], State]:
    """Draw a history of a store that loses nothing: each operation takes effect at a moment of its own."""
    number, known = 0, [0, 0, 0]
    operations = []
    free = [0.0, 0.0, 0.0]  # when each client has its last answer
    for moment in range(1, draw(st.integers(2, 30))):
        client = draw(st.integers(0, 2))
        start = max(free[client], moment - draw(st.floats(0, 5)))
        end = free[client] = moment + draw(st.floats(0, 0.9))
        kind = draw(st.sampled_from(kinds_drawn))
        if kind == "read":
            known[client] = number
            operations.append(read(start, number, end=end))
        elif kind == "write" and known[client] != number:
            operations.append(write(start, known[client] + 1, 412, end=end, etag=f'"{number}"'))
        elif kind == "write":
            number = known[client] = number + 1
            operations.append(write(start, number, end=end))
        elif kind == "lost":
            operations.append(write(start, known[client] + 1, None, end=end))
            number += known[client] == number and draw(st.booleans())
        elif kind == "increased":
            number += 1
            operations.append(write(start, number, end=end, base=None))
        else:
            operations.append(Operation(start=start, end=end, number=None, writes=True))
            number += draw(st.booleans())
    return operations, State(number, f'"{number}"')


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories(BLIND))
def test_every_good_history_is_accepted_even_where_writers_do_not_know_what_they_replace(
    history: tuple[list[Operation], State],
) -> None:
    operations, last = history
    assert judge(operations, FIRST, last).problems == []


@FEW
@given(histories())
def test_every_good_history_is_accepted(history: tuple[list[Operation], State]) -> None:
    operations, last = history
    assert judge(operations, FIRST, last).problems == []


def accepted(operations: list[Operation]) -> list[Operation]:
    return [operation for operation in operations if operation.writes and operation.accepted]


@FEW
@given(histories(), st.data())
def test_every_good_history_is_bad_with_one_more_accepted_write(
    history: tuple[list[Operation], State], data: st.DataObject
) -> None:
    operations, last = history
    assume(accepted(operations))
    again = data.draw(st.sampled_from(accepted(operations)))
    verdict = judge([*operations, again], FIRST, last)
    assert verdict.lost == 1


@FEW
@given(histories(), st.data())
def test_every_good_history_is_bad_if_a_refused_write_was_accepted_after_all(
    history: tuple[list[Operation], State], data: st.DataObject
) -> None:
    operations, last = history
    refused = [operation for operation in operations if operation.status == 412]
    assume(refused)
    one = data.draw(st.sampled_from(refused))
    verdict = judge(
        [replace(one, status=200, etag='"its own"') if each is one else each for each in operations], FIRST, last
    )
    assert verdict.problems


@FEW
@given(histories(), st.data())
def test_every_good_history_is_bad_if_the_last_write_vanished(
    history: tuple[list[Operation], State], data: st.DataObject
) -> None:
    operations, _ = history
    assume(accepted(operations))
    end = max(operation.number or 0 for operation in accepted(operations))
    assert judge(operations, FIRST, State(end - 1, f'"{end - 1}"')).lost >= 1


@FEW
@given(histories(), st.data())
def test_every_good_history_is_bad_without_one_of_its_writes(
    history: tuple[list[Operation], State], data: st.DataObject
) -> None:
    operations, last = history
    assume(accepted(operations))
    one = data.draw(st.sampled_from(accepted(operations)))
    assume(not any(each.status is None and each.number == one.number for each in operations))
    rest = [operation for operation in operations if operation is not one]
    assert "a state that nobody made" in judge(rest, FIRST, last).kinds()


@FEW
@given(histories(), st.data())
def test_every_good_history_is_bad_with_a_late_read_of_an_old_state(
    history: tuple[list[Operation], State], data: st.DataObject
) -> None:
    operations, last = history
    assume(accepted(operations))
    newest = max(operation.number or 0 for operation in accepted(operations))
    old = data.draw(st.integers(0, newest - 1))
    assert "out of order" in judge([*operations, read(1000, old)], FIRST, last).kinds()


@FEW
@given(histories(), st.data())
def test_every_good_history_is_bad_with_a_read_before_the_first_write(
    history: tuple[list[Operation], State], data: st.DataObject
) -> None:
    operations, last = history
    assume(last.number)
    number = data.draw(st.integers(1, last.number))
    assert judge([*operations, read(-10, number)], FIRST, last).problems


@FEW
@given(histories(), st.data())
def test_every_good_history_is_bad_with_a_server_error(
    history: tuple[list[Operation], State], data: st.DataObject
) -> None:
    operations, last = history
    one = data.draw(st.sampled_from(operations))
    broken = [replace(each, status=500, etag=None) if each is one else each for each in operations]
    assert "server error" in judge(broken, FIRST, last).kinds()


@FEW
@given(histories(), st.data())
def test_every_good_history_is_bad_with_a_refusal_of_the_current_tag(
    history: tuple[list[Operation], State], data: st.DataObject
) -> None:
    operations, last = history
    assert judge([*operations, write(1000, last.number + 1, 412)], FIRST, last).kinds() == {
        "refused without a reason": 1
    }


@FEW
@given(histories(), st.data())
def test_every_good_history_is_bad_with_a_refusal_that_shows_what_nobody_made(
    history: tuple[list[Operation], State], data: st.DataObject
) -> None:
    operations, last = history
    refused = [operation for operation in operations if operation.status == 412]
    assume(refused)
    one = data.draw(st.sampled_from(refused))
    shown = [replace(one, etag='"nobody\'s"') if each is one else each for each in operations]
    assert judge(shown, FIRST, last).kinds()["a tag of no state"] == 1


def test_of_servers_that_are_behind_one_another_only_what_was_accepted_is_judged() -> None:
    behind = [*GOOD, read(9, 1), write(10, 1, 412, etag='"0"')]
    assert kinds(*behind) >= {"out of order"}
    assert kinds(*behind, are_behind=True) == set()
    assert "lost update" in kinds(*behind, write(6.5, 2), are_behind=True)


def test_a_read_that_has_waited_in_vain_is_expected_where_something_is_broken_on_purpose() -> None:
    refused = read(9, 0, status=409, etag=None)
    assert "unexpected answer" in kinds(*GOOD, refused)
    assert kinds(*GOOD, refused, faults=True) == set()


def test_a_write_that_has_met_another_is_counted_by_itself() -> None:
    verdict = judge([*GOOD, write(10, 3, 409)], FIRST, State(2, '"2"'))
    assert (verdict.accepted, verdict.refused, verdict.conflicts) == (2, 0, 1)
    assert verdict.kinds() == {}
