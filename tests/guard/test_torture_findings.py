"""What the torture has found, by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from uuid import uuid4

from sqlalchemy import update

from tests.world.application import World
from tests.world.models import Note
from tests.world.racing import WAIT


def test_2_5_a_stale_tag_is_412_also_while_others_go_on_writing(world_on: Callable[[str], str]) -> None:
    """At REPEATABLE READ, PostgreSQL refuses whoever has waited for a lock on a row that was then changed."""
    world = World(world_on("postgresql"), isolation_level="REPEATABLE READ", pool_size=10)
    world.app.testing = False
    ended = Event()

    def write() -> None:
        with world.engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
            connection.execute(update(Note).values(version=uuid4().hex))
            time.sleep(0.005)  # others wait for the lock meanwhile

    def go_on_writing() -> None:
        while not ended.is_set():
            write()

    etag = world.etag()
    slow, hold = world.held("before commit", lambda: world.put("slow", if_match=etag, hold="before commit"))
    write()
    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(go_on_writing) for _ in range(4)]
        time.sleep(0.1)
        hold.released.set()
        slow.join(WAIT)
        ended.set()
        for writer in writers:
            writer.result()
    assert slow.answer().status_code == 412
    world.close()
