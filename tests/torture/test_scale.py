"""The simulation of ``make scale`` is right within a factor, where real clients can be compared with it."""

from __future__ import annotations

from benchmarks.scale import alone, compared
from torture.servers import serving

FACTOR = {True: 2, False: 4}  # whether clients think: if not, all hangs on how a busy machine spreads its time
SMALL = 0.15  # refusals for each accepted write: of 60 writes, some are refused by chance


def test_real_clients_of_one_row_are_refused_as_often_as_simulated_ones(postgresql_server: str) -> None:
    with serving(database=postgresql_server, slow="0.001") as server:
        costs = alone(server, postgresql_server, 50)
        met = list(compared(server, costs, 60))
    print(costs, met)  # noqa: T201 - what was found
    for clients, think, real, simulated in met:
        factor = FACTOR[think > 0]
        told = f"{clients} clients that think {think} s: {real:.2f} real, {simulated:.2f} simulated"
        assert simulated / factor <= real + SMALL, told
        assert real <= simulated * factor + SMALL, told
