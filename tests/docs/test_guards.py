"""What the page on guards says of models without a version."""

from __future__ import annotations

from collections.abc import Callable

from tests.world.application import World


def test_2_5_a_sqlite_file_that_is_locked_for_too_long_is_409(world_on: Callable[[str], str]) -> None:
    world = World(world_on("sqlite"), connect_args={"timeout": 0.1})
    world.app.testing = False
    etag = world.paper_etag()
    slow, hold = world.held("before commit", lambda: world.put_paper("slow", if_match=etag, hold="before commit"))
    fast = world.put_paper("fast", if_match=etag)
    hold.released.set()
    assert slow.answer().status_code == 200
    world.close()
    assert fast.status_code == 409
