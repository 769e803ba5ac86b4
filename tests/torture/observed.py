"""The application under torture, whose decisions are written down: a line for each, by every process."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from flask import Flask, g

from flask_etag import Decision, Resource, decided
from torture import app as tortured


def create_app() -> Flask:
    """Make the application; TORTURE_DECISIONS is the file."""
    load = Resource.load

    def note_what_is_judged_first(self: Resource[..., Any], *arguments: Any, **options: Any) -> Any:
        target = load(self, *arguments, **options)
        if "judged_first" not in g:
            g.judged_first = str(self.etag_of(target))
        return target

    Resource.load = note_what_is_judged_first  # type: ignore[method-assign]
    app = tortured.create_app()
    takes_its_time = tortured._view_takes_its_time

    def note_that_the_view_runs() -> None:
        g.has_run = True
        takes_its_time()

    tortured._view_takes_its_time = note_that_the_view_runs

    @decided.connect_via(app)
    def write_down(_: Flask, decision: Decision) -> None:
        told = {
            "at": time.monotonic(),
            "process": os.getpid(),
            "outcome": decision.outcome,
            "reason": decision.reason,
            "raced": decision.raced,
            "sent": decision.sent,
            "etag": decision.etag,
            "has_run": g.get("has_run", False),
            "judged_first": g.get("judged_first"),
        }
        line = (json.dumps(told) + "\n").encode()
        file = os.open(os.environ["TORTURE_DECISIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line)  # at once, so that no two of them mix
        os.close(file)

    return app
