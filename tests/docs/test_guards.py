"""What the page on guards says of models without a version."""

from __future__ import annotations

from collections.abc import Callable

from tests.world.application import World


def test_2_5_a_sqlite_file_that_is_locked_for_too_long_is_409(empty_database: Callable[[str], str]) -> None:
    papers = World(empty_database("sqlite"), connect_args={"timeout": 0.1})
    papers.app.testing = False
    etag = papers.paper_etag()
    slow, hold = papers.held(
        "before commit", lambda: papers.put_paper("slow", if_match=etag, hold="before commit")
    )
    fast = papers.put_paper("fast", if_match=etag)
    hold.released.set()
    assert slow.answer().status_code == 200
    papers.close()
    assert fast.status_code == 409
