"""The simulation of ``make scale`` is right within a factor, where real clients can be compared with it."""

from __future__ import annotations

from benchmarks.scale import MEETINGS, alone, compared
from torture.servers import serving

FACTOR = 2
SMALL = 0.15  # refusals for each accepted write: of 60 writes, some are refused by chance


def test_real_clients_of_one_row_are_refused_as_often_as_simulated_ones(postgresql_server: str) -> None:
    """Of those who think: of others all depends on how a busy machine shares out its time."""
    with serving(database=postgresql_server, slow="0.001") as server:
        costs = alone(server, postgresql_server, 50)
        met = list(compared(server, costs, 60, [each for each in MEETINGS if each[1] > 0]))
    print(costs, met)  # noqa: T201 - what was found
    for clients, think, real, simulated in met:
        told = f"{clients} clients that think {think} s: {real:.2f} real, {simulated:.2f} simulated"
        assert simulated / FACTOR <= real + SMALL, told
        assert real <= simulated * FACTOR + SMALL, told
