"""Other rounds than GET and PUT, of the same clients: they need routes of the application in ``torture.app``."""

from __future__ import annotations

import time
from dataclasses import replace
from uuid import uuid4

from flask_etag.torture.clients import Answer, Client


def path_of(move: str) -> str | None:
    """Return what a plan says of a move; GET and then PUT is what it does by itself."""
    return None if move == "put" else f"{__name__}:{move}"


def own(client: Client) -> dict[str, str]:
    """Return what tells a write from all others."""
    return {client.plan.nonce: uuid4().hex} if client.plan.nonce else {}


def folder_of(url: str) -> str:
    return url.rpartition("/")[0]


def patch(client: Client) -> bool:
    """GET, then PUT, or a PATCH that increases the number at the server."""
    found = client.current()
    if found is None:
        return False
    url, seen = found
    if client.random.random() < 0.5:
        client.put(url, seen.body, seen.number or 0, seen.etag or "")
    else:
        client.write("PATCH", url, own(client), seen.body["number"] + 1, **{"If-Match": seen.etag or ""})
    return True


def insist(client: Client) -> bool:
    """GET, then PUT, the very same again and again until it is answered: all of that is one write.

    :raises RuntimeError: if it is refused though it is done, and the last one.
    """
    found = client.current()
    if found is None:
        return False
    url, seen = found
    sent = client.format.write(seen.body, (seen.number or 0) + 1)
    conditions = {"If-Match": seen.etag or ""}
    first = answer = client.send("PUT", url, sent, **conditions)
    while _is_lost(answer) and time.monotonic() < client.deadline:
        answer = client.send("PUT", client.url(), sent, **conditions)
    whole = replace(answer, start=first.start)
    if _is_lost(first) and answer.status in (404, 409, 412):
        there = client.read(url)
        if there.status == 200 and there.body == sent:
            raise RuntimeError(f"{answer}, and it is there")
        whole.status = None  # it may have been there, until another came
    number = sent[client.plan.member]
    client.record(url, whole, number, writes=True, base=seen.etag)
    if answer.location is not None:
        path, operation = client.operations.pop()
        client.operations.append((path, replace(operation, note=AGAIN)))
    return True


def _is_lost(answer: Answer) -> bool:
    return answer.status is None or answer.status >= 500


AGAIN = "It was done before, and came again."


def chain(client: Client) -> bool:
    """GET, and then PUT after PUT, each with the ETag of the last."""
    found = client.current()
    if found is None:
        return False
    url, seen = found
    body, etag = dict(seen.body), seen.etag
    while etag and body[client.plan.member] < client.plan.goal:
        answer = client.put(url, body, body[client.plan.member], etag)
        if answer.status != 200:
            break
        body[client.plan.member] += 1
        etag = answer.etag
    return True


def star(client: Client) -> bool:
    """PATCH with ``If-Match: *``: whatever the number is, the server increases it."""
    answer = client.write("PATCH", client.url(), own(client), None, **{"If-Match": "*"})
    return not (answer.status == 200 and answer.body["number"] >= client.plan.goal)


def both(client: Client) -> bool:
    """Increase two counters in one transaction, or the second one alone."""
    url = client.url()
    first, second = url, f"{folder_of(url)}/2"
    if client.random.random() < 0.5:
        seen = client.read(second)
        if seen.status == 200:
            client.put(second, seen.body, seen.number or 0, seen.etag or "")
        return True
    seen = client.read(first)
    if seen.status != 200:
        return True
    if seen.body["number"] >= client.plan.goal:
        return False
    number = seen.body["number"] + 1
    answer = client.write("POST", f"{first}/both", own(client), number, **{"If-Match": seen.etag or ""})
    path, operation = client.operations.pop()
    client.operations.append((path.removesuffix("/both"), operation))
    if answer.status is None or answer.status == 200 or answer.status >= 500:
        other = replace(operation, number=answer.body.get("other"), base=None, etag=answer.body.get("etag"))
        client.operations.append((path.removesuffix("1/both") + "2", other))
    return True


def batch(client: Client) -> bool:
    """Increase two counters by one request, in any order, each under its own tag; or one of them by PUT."""
    folder = folder_of(client.url())
    urls = [f"{folder}/{number}" for number in client.random.sample([1, 2], 2)]
    if client.random.random() < 0.5:
        seen = client.read(urls[0])
        if seen.status == 200:
            client.put(urls[0], seen.body, seen.number or 0, seen.etag or "")
        return True
    both_seen = [client.read(url) for url in urls]
    if any(one.status != 200 for one in both_seen):
        return True
    if all(one.body["number"] >= client.plan.goal for one in both_seen):
        return False
    answer = client.send(
        "PATCH",
        folder,
        [
            {"id": int(url.rpartition("/")[2]), "number": one.body["number"] + 1, "etag": one.etag, **own(client)}
            for url, one in zip(urls, both_seen, strict=True)
        ],
    )
    # Of a 412, only the items that it names were refused; of the others, it says that nothing was written.
    stale = {item["index"]: item["etag"] for item in answer.body.get("items", [])}
    etags = answer.body.get("etags") or [stale.get(index) for index in range(len(urls))]
    for index, (url, one, etag) in enumerate(zip(urls, both_seen, etags, strict=True)):
        if answer.status != 412 or index in stale:
            part = replace(answer, etag=etag)
            client.record(url, part, one.body["number"] + 1, writes=True, base=one.etag)
    return True


def create(client: Client) -> bool:
    """Make a counter and increase it, and go on to the next; others make the same ones."""
    for key in _others(client):
        url = f"{folder_of(client.url())}/{key}"
        # Numbers begin at 1: 0 is the state of not being there.
        client.write("PUT", url, {"number": 1, **own(client)}, 1, **{"If-None-Match": "*"})
        seen = client.read(url)
        if seen.status == 200 and seen.body["number"] < 3:
            client.put(url, seen.body, seen.number or 0, seen.etag or "")
    return False


def delete(client: Client) -> bool:
    """Increase a counter and delete it, and go on to the next; others delete, and increase, the same ones."""
    for key in _others(client):
        url = f"{folder_of(client.url())}/{key}"
        while time.monotonic() < client.deadline:
            seen = client.read(url)
            if seen.status == 404:
                break
            if seen.status == 200:
                number, etag = seen.body["number"], seen.etag or ""
                if number < 3 or (number < 5 and client.random.random() < 0.5):
                    client.put(url, seen.body, number, etag)
                else:
                    client.write("DELETE", url, None, number + 1, **{"If-Match": etag})
    return False


def _others(client: Client) -> range:
    """Return the counters that are not there at the beginning."""
    return range(3, 3 + client.plan.goal)
