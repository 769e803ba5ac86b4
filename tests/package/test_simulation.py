"""The simulation does what can be worked out by hand. ``tests/torture/test_scale.py`` has real clients, too."""

from __future__ import annotations

import pytest

from benchmarks.scale import Popular, chance
from benchmarks.simulation import Clock, Costs, Habits, Outcome, Places, Process, Row, World

COSTS = Costs(read=0.001, refused=0.001, write=0.002, view=0.001, commit=0.002)
SECONDS = 10


def alone_with(editors: int, seed: int = 1, cores: int = 64, **habits: float) -> Outcome:
    world, row = World(COSTS, Habits(**habits), cores, seed), Row()  # type: ignore[arg-type]
    world.work(editors, lambda: row)
    outcome = world.run(SECONDS)
    assert outcome.accepted == len(row.commits) == len(set(row.commits))  # each is of a moment of its own
    return outcome


def test_time_passes_in_order_and_places_are_taken_in_turn() -> None:
    clock, place = Clock(), Places(1)
    seen: list[tuple[str, float]] = []

    def process(name: str, sleeps: float) -> Process:
        yield sleeps
        yield place
        yield 10
        seen.append((name, clock.now))
        clock.leave(place)

    for name, sleeps in [("late", 2.0), ("early", 1.0), ("later", 3.0)]:
        clock.start(process(name, sleeps))
    clock.run(100)
    assert seen == [("early", 11), ("late", 21), ("later", 31)]
    assert clock.now == 100


def test_who_is_alone_is_never_refused_and_is_as_fast_as_the_requests_are() -> None:
    outcome = alone_with(1)
    assert (outcome.refused, outcome.refused_for_each) == (0, 0)
    assert outcome.accepted / SECONDS == pytest.approx(1 / 0.006, rel=0.05)


def test_the_same_seed_is_the_same_story() -> None:
    assert alone_with(8, seed=3) == alone_with(8, seed=3) != alone_with(8, seed=4)


def test_one_core_serves_no_more_than_it_can() -> None:
    world = World(COSTS, Habits(), cores=1)
    rows = [Row() for _ in range(50)]
    for row in rows:
        world.work(1, lambda row=row: row)  # type: ignore[misc]
    assert world.run(SECONDS).accepted / SECONDS == pytest.approx(1 / (COSTS.read + COSTS.write), rel=0.05)


@pytest.mark.parametrize("load", [0.05, 0.5, 2])
def test_the_share_of_first_tries_that_is_refused_is_the_one_that_the_formula_gives(load: float) -> None:
    think = 10.0
    world = World(Costs(1e-6, 1e-6, 1e-6, 0, 1e-6), Habits(think=think, again=0.001), seed=2)
    for _ in range(30):
        row = Row()
        world.arrive(load / think, lambda row=row: row)  # type: ignore[misc]
    share = world.run(3000 / load, warm=100).share_at_first
    assert share == pytest.approx(chance(load / think, think), rel=0.1)


def test_who_reads_what_is_old_is_refused_until_that_has_passed() -> None:
    fresh, behind = alone_with(1, think=0.05), alone_with(1, think=0.05, lag=1, pause=0.1, longest=0.1)
    assert fresh.refused == 0
    assert behind.accepted / SECONDS < 1.1  # one a second, since nothing newer can be read
    assert behind.refused_for_each > 3


def test_whoever_pauses_after_a_refusal_spares_the_servers() -> None:
    at_once, jitter = alone_with(32), alone_with(32, pause=0.05)
    assert jitter.refused_for_each < at_once.refused_for_each / 5


def test_who_gives_up_is_counted() -> None:
    outcome = alone_with(16, tries=2)
    assert outcome.given_up
    assert outcome.refused == pytest.approx(outcome.given_up * 2, rel=0.3)


def test_increments_wait_and_are_not_refused_and_a_queue_commits_many_at_once() -> None:
    counted, queued = (World(COSTS, Habits(), cores=64) for _ in range(2))
    row, other = Row(), Row()
    counted.count(64, lambda: row)
    queued.queue(64, other)
    of_counted, of_queued = counted.run(10), queued.run(10)
    assert of_counted.refused == of_queued.refused == 0
    assert of_counted.accepted / 10 == pytest.approx(1 / COSTS.commit, rel=0.05)
    assert of_queued.accepted > 5 * of_counted.accepted
    assert of_queued.took_at_most(99) < of_counted.took_at_most(99)


def test_popularity_falls_with_the_rank() -> None:
    popular = Popular(1000, seed=1)
    assert popular.share(1) == pytest.approx(2 * popular.share(2))
    drawn = [popular.choose() for _ in range(20_000)]
    assert drawn.count(popular.rows[0]) / len(drawn) == pytest.approx(popular.share(1), rel=0.1)
