"""Collide clients on one resource of any application: ``python -m flask_etag.torture URL``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import replace

from flask_etag.torture.clients import Client, Crowd, Plan
from flask_etag.torture.history import State, Verdict, judge

WAIT = 60  # seconds, for a server that was away as the clients ended


def report(verdict: Verdict, seconds: float) -> str:
    lines = [
        f"accepted {verdict.accepted}, refused {verdict.refused}, conflicts (409) {verdict.conflicts}, "
        f"server errors {verdict.server_errors}, without an answer {verdict.unknown}; "
        f"{verdict.accepted / seconds:.0f} writes a second",
        f"accepted and lost: {verdict.lost}",
    ]
    for kind, count in verdict.kinds().items():
        example = next(problem.where for problem in verdict.problems if problem.kind == kind)
        lines.append(f"{kind}: {count}, e.g. {example}")
    return "\n".join(lines)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name.strip() and colon):
        raise ValueError
    return name.strip(), value.strip()


def state(client: Client, seconds: float) -> State:
    """Return the state of the resource, if a server tells it within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = client.send("GET", client.url())
        if answer.status == 200 and answer.etag is not None and answer.number is not None:
            return State(answer.number, answer.etag)
        if time.monotonic() > deadline:
            what = client.plan.format or f"an object with an integer {client.plan.member}"
            sys.exit(f"{answer}. It has to be 200, an ETag and JSON of which the number can be read: {what}.")
        time.sleep(0.02)


def stop(crowd: Crowd) -> None:
    """Let Ctrl-C end a run, whenever it comes: what was seen until then is judged. A second one ends all."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    crowd.stop()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m flask_etag.torture",
        description="Let clients increase a number by GET and then PUT with If-Match, and see what is lost. "
        "GET has to answer a JSON object with an integer member, and an ETag; PUT takes that object back.",
    )
    parser.add_argument("urls", nargs="+", metavar="URL", help="the resource; several, if several servers have it")
    parser.add_argument("--clients", type=positive, default=8)
    parser.add_argument("--accepted", type=positive, default=2000, help="by how much to increase the number")
    parser.add_argument("--member", default="number", help="the member of the JSON object (default: number)")
    parser.add_argument("--nonce", metavar="MEMBER", help="one that each write fills with a text of its own")
    parser.add_argument(
        "--format", metavar="MODULE:NAME", help="how to read the number, and to make the next state, of other JSON"
    )
    parser.add_argument(
        "--header", type=header, action="append", default=[], metavar="NAME:VALUE", help="sent each time"
    )
    parser.add_argument(
        "--hang-up", type=int, default=0, metavar="PERCENT", help="of writes that are not waited for"
    )
    parser.add_argument("--seconds", type=float, default=600, help="after which to stop in any case")
    parser.add_argument("--faults", action="store_true", help="take a server error for an answer that was lost")
    given = parser.parse_args()
    plan = Plan(
        given.urls,
        0,
        given.seconds,
        member=given.member,
        nonce=given.nonce,
        format=given.format,
        headers=dict(given.header),
    )
    first = state(Client(plan, 0), 0)
    start = time.monotonic()
    crowd = Crowd(replace(plan, goal=first.number + given.accepted, hang_up=given.hang_up), given.clients)
    signal.signal(signal.SIGINT, lambda *_: stop(crowd))
    with crowd:
        operations = [operation for history in crowd.histories().values() for operation in history]
    seconds = time.monotonic() - start
    verdict = judge(operations, first, state(Client(plan, 0), WAIT), faults=given.faults)
    print(report(verdict, seconds))
    if verdict.made < given.accepted:
        print(f"increased by {verdict.made}, and not by {given.accepted}")
    return 0 if verdict.accepted and verdict.made >= given.accepted and not verdict.problems else 1


if __name__ == "__main__":
    sys.exit(main())
