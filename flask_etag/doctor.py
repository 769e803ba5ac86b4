"""``flask etag doctor``: what stands in front of an application does to tags, to 304s and to If-Match.

It asks as a client would, by reads alone, and a handful of them. What a save would meet is told from a GET with
If-Match, which is judged as a save's is.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from threading import Event, Timer
from typing import Literal
from urllib.parse import quote, urlsplit

import click

from flask_etag.audit import etag as group
from flask_etag.audit import field_given
from flask_etag.decisions import escaped
from flask_etag.entity_tags import TagList

TIMEOUT = 10  # seconds, for each request, from the connection to the end of what is read of the answer
LARGEST = 1 << 20  # bytes of an answer that are read
CODINGS = "gzip, deflate, br, zstd"
_OF_PATHS = "/%?:@!$&'()*+,;=~|[]"  # beside letters, digits and -._
NO_TAG_OF_ANYBODY = '"flask-etag-doctor"'

_MARK = re.compile(r'(?P<weak>W/)?"(?P<own>[^"]*?)(?P<suffix>(?:--?|:)(?:gzip|br|zstd|deflate))?"').fullmatch

_SETTINGS = {
    "nginx": 'map $http_if_match $if_match { "~^W/(?<strong>.*)$" $strong; default $http_if_match; } '
    "proxy_set_header If-Match $if_match;",
    "Apache": "DeflateAlterETag NoChange, and BrotliAlterETag NoChange",
    "Varnish": "in vcl_recv, if (req.http.If-Match): "
    'set req.http.If-Match = regsuball(req.http.If-Match, "(^|,)[ \\t]*W/", "\\1");',
    "Flask-Compress": 'COMPRESS_MIMETYPES = ["text/html", "text/css", "text/javascript"]',
}
"""What makes each of them leave a tag alone, or take its mark back; docs/proxies.md has all of them."""

_PAGE = "https://flask-etag.readthedocs.io/proxies"

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is found.

    :param level: ``wrong`` where a save of what nobody has changed would be refused, ``note`` where it costs
        something else.
    :param told: what is found.
    :param cure: the setting that helps.
    """

    level: Level
    told: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of one request."""

    status: int
    fields: HTTPMessage
    body: bytes

    @property
    def etag(self) -> str | None:
        """The field ETag."""
        return self.fields["ETag"]

    @property
    def has_one_tag(self) -> bool:
        """Whether there is one field ETag, and one tag in it."""
        try:
            [field] = self.fields.get_all("ETag", [])
            [_] = TagList.parse(field).members
        except ValueError:
            return False
        return True

    @property
    def reason(self) -> str | None:
        """The reason of a problem document of Flask-ETag's; ``None`` of any other answer."""
        try:
            reason = json.loads(self.body)["reason"]
        except (ValueError, KeyError, TypeError):
            return None
        return str(reason)


class UnreachableError(Exception):
    """The URL cannot be examined: the text says why."""


class Patient:
    """The URL that is examined.

    :param url: of a resource that GET answers.
    :param fields: what each request sends besides.
    """

    def __init__(self, url: str, fields: Mapping[str, str]) -> None:
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError as error:
            raise UnreachableError(f"{url} is no URL: {error}.") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UnreachableError(f"{url} is no URL of http or https.")
        self._parts = parts
        # What is not ASCII, or a space, is escaped as a browser does it; what is escaped already stays.
        self._target = quote(parts.path or "/", safe=_OF_PATHS)
        if parts.query:
            self._target += "?" + quote(parts.query, safe=_OF_PATHS)
        self._fields = fields

    def get(self, **fields: str) -> Answer:
        """Send a GET.

        :param fields: what is sent, in the names that HTTP's have in Python: ``if_match``.
        """
        return self.send("GET", {name.replace("_", "-").title(): value for name, value in fields.items()})

    def send(self, method: str, fields: Mapping[str, str]) -> Answer:
        """Send a request, on a connection of its own.

        :raises UnreachableError: if nobody answers, or not in time.
        """
        host = self._parts.hostname or ""
        connection: HTTPConnection
        if self._parts.scheme == "https":
            connection = HTTPSConnection(host, self._port, timeout=TIMEOUT, context=ssl.create_default_context())
        else:
            connection = HTTPConnection(host, self._port, timeout=TIMEOUT)
        try:
            connection.connect()
            with _hung_up_after(TIMEOUT, connection.sock):
                sent = {"Accept-Encoding": CODINGS, **self._fields, **fields}
                connection.request(method, self._target, headers=sent)
                with connection.getresponse() as answer:
                    return Answer(answer.status, answer.headers, answer.read(LARGEST))
        except (OSError, HTTPException, UnicodeError) as error:
            raise UnreachableError(f"{self._parts.geturl()} does not answer: {error}") from error
        finally:
            connection.close()


@contextmanager
def _hung_up_after(seconds: float, connected: socket.socket) -> Iterator[None]:
    """End a connection from this side after a time: a socket's own timeout begins anew with each byte that comes.

    :raises TimeoutError: if that was necessary.
    """
    is_late = Event()

    def hang_up() -> None:
        is_late.set()
        with suppress(OSError):
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    timer = Timer(seconds, hang_up)
    timer.start()
    try:
        yield
    except TimeoutError:  # the socket's own: where nothing comes at all, both are due at the same moment
        is_late.set()
        raise
    finally:
        timer.cancel()
        if is_late.is_set():
            raise TimeoutError(f"it was not done after {seconds} seconds")


def examine(patient: Patient, origin: str | None = None) -> Iterator[Finding]:
    """Yield what is found, in the order in which it is looked for.

    :param origin: the origin of a page of another site whose scripts are to use the resource.
    :raises UnreachableError: if the URL cannot be read.
    """
    plain = patient.get(accept_encoding="identity")
    if plain.status != 200:
        leads_to = plain.fields["Location"]
        raise UnreachableError(
            f"GET is answered {plain.status}, and 200 is needed: give the URL of a resource that can be read, and "
            "--header 'Authorization: ...' where it is not for everybody."
            + (f" This one leads to {leads_to}" if leads_to else "")
        )
    packed = patient.get()
    if packed.etag is None:
        taken = (
            "a compressed answer has none, and one that is not compressed has"
            if plain.etag
            else "the answer has none"
        )
        yield Finding(
            "wrong",
            f"No ETag: {taken}, so that a client has nothing to send back, and every save is 428.",
            "Decorate the view; let no front end remove it (not DeflateAlterETag Remove).",
        )
        return
    if not packed.has_one_tag:
        yield Finding(
            "wrong",
            f"{', '.join(packed.fields.get_all('ETag', []))} is no ETag: that is one text in quotes. A save that "
            "sends it back is malformed, and refused.",
            "Look at who sets it: the view, by str(EntityTag(...)), or what is in front.",
        )
        return
    yield from _tag(plain, packed)
    yield from _save(patient, packed)
    yield from _unchanged_read(patient, packed)
    yield from _fields(packed)
    if origin is not None:
        yield from _other_sites(patient, origin)


def _tag(plain: Answer, packed: Answer) -> Iterator[Finding]:
    coding = packed.fields["Content-Encoding"]
    if _own(packed.etag) != _own(plain.etag):
        yield Finding(
            "note",
            f"Two reads have two tags, {plain.etag} and {packed.etag}: it was written just now, or its tag "
            "changes by itself.",
            "Ask again. If it stays so, look at what its content_hash() sees.",
        )
    elif packed.etag == plain.etag and _is_marked(packed.etag or ""):
        yield Finding("note", f"{_marker(packed)} marks each tag, or the application does: {packed.etag}.")
    elif packed.etag == plain.etag:
        compressed = (
            f", also of the answer that is compressed ({coding})" if coding else ", and nothing is compressed"
        )
        yield Finding("ok", f"The tag arrives as it was sent: {packed.etag}{compressed}.")
    else:
        yield Finding("note", f"{_marker(packed)} makes of {plain.etag} {packed.etag} ({coding}).")


def _save(patient: Patient, packed: Answer) -> Iterator[Finding]:
    """Tell what a save would be answered that sends back the tag that it was given."""
    given = packed.etag or ""
    marker = _marker(packed)
    cure = f"ETAG_ACCEPT_WEAKENED = True; or {_SETTINGS[marker]} See {_PAGE}"
    other = patient.get(if_match=NO_TAG_OF_ANYBODY, accept_encoding="identity")
    answer = patient.get(if_match=given, accept_encoding="identity")
    if other.reason not in ("stale", "unverifiable") or (answer.status == 412 and answer.reason is None):
        marked = _is_marked(given)
        yield Finding(
            "wrong" if marked else "note",
            f"It is not the application that answers a GET with If-Match ({other.status} to one that matches "
            "nothing): a cache does, or the field is dropped, or the answer replaced. Whether a save "
            + (f"with {given} is accepted cannot be told." if marked else "is judged cannot be told from here."),
            cure
            if marked
            else "Save once by hand, with an If-Match that matches nothing: it has to be 412, stale.",
        )
        return
    if answer.status == 200:
        yield Finding("ok", f"A save that sends back {given} is accepted.")
    elif answer.status == 412:
        why = "is refused, though nobody has changed anything"
        cures = {
            "unverifiable": "The resource gives a weak tag, or none: give it a strong one, by its etag=.",
            "stale": "Ask again. If it stays so, the tag changes by itself, or is altered in a way that is not "
            "known here: look at what is in front.",
        }
        yield Finding(
            "wrong", f"A save that sends back {given} {why}: {answer.reason}.", cures.get(str(answer.reason), cure)
        )
    else:
        yield Finding(
            "note", f"A GET with If-Match: {given} is answered {answer.status}.", "Look at who answers that."
        )


def _unchanged_read(patient: Patient, packed: Answer) -> Iterator[Finding]:
    again = patient.get(if_none_match=packed.etag or "")
    if again.status != 304:
        yield Finding(
            "note",
            f"An unchanged read is answered {again.status}, in full: no 304 for {packed.etag}.",
            f"Hand on If-None-Match, and take the mark off it; or ETAG_ACCEPT_WEAKENED = True. See {_PAGE}",
        )
        return
    yield Finding("ok", "An unchanged read is a 304.")
    lost = [name for name in ("ETag", "Cache-Control") if name in packed.fields and name not in again.fields]
    if (
        _vary(packed) - {"accept-encoding"} - _vary(again)
    ):  # that one is added by who compresses, and harmless here
        lost.append("Vary")
    if lost:
        yield Finding(
            "note",
            f"The 304 has no {' and no '.join(lost)}, and its 200 has (RFC 9110 section 15.4.5).",
            "Declare it: @resource(headers=...). If it is declared, look at who answers the 304.",
        )


def _fields(packed: Answer) -> Iterator[Finding]:
    cache_control = packed.fields["Cache-Control"]
    if cache_control is None:
        yield Finding(
            "note",
            "No Cache-Control arrives: caches guess how long to keep the answer.",
            "Leave ETAG_CACHE_CONTROL as it is, and let no front end remove the field.",
        )
    else:
        yield Finding("ok", f"Cache-Control arrives: {cache_control}.")
        if packed.fields.get("Age", "0").strip() != "0" and "private" in cache_control:
            yield Finding(
                "note", "A shared cache answers, though the answer is private.", "Let the cache pass it."
            )
    if packed.fields["Content-Encoding"] and _vary(packed).isdisjoint({"accept-encoding", "*"}):
        yield Finding(
            "note",
            "The answer is compressed and does not say Vary: Accept-Encoding: a cache may give it to who cannot "
            "read it.",
            "nginx: gzip_vary on;",
        )


def _other_sites(patient: Patient, origin: str) -> Iterator[Finding]:
    """Tell whether scripts of another origin see the tag, and may send it back (CORS)."""
    exposed = patient.get(origin=origin).fields["Access-Control-Expose-Headers"] or ""
    if "etag" in exposed.lower() or exposed.strip() == "*":
        yield Finding("ok", f"Scripts of {origin} see the ETag.")
    else:
        yield Finding("note", f"Scripts of {origin} do not see the ETag.", "Access-Control-Expose-Headers: ETag")
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "if-match",
    }
    allowed = patient.send("OPTIONS", asked).fields["Access-Control-Allow-Headers"] or ""
    if "if-match" in allowed.lower() or allowed.strip() == "*":
        yield Finding("ok", f"Scripts of {origin} may send If-Match.")
    else:
        yield Finding(
            "note",
            f"Scripts of {origin} may not send If-Match.",
            "Access-Control-Allow-Headers: If-Match, If-None-Match, Content-Type",
        )


def _vary(answer: Answer) -> set[str]:
    """Return the names that the field Vary of an answer has, in small letters."""
    return {name.strip().lower() for line in answer.fields.get_all("Vary", []) for name in line.split(",")}


def _own(tag: str | None) -> str | None:
    """Return a tag without what a compressing front end has put to it."""
    mark = None if tag is None else _MARK(tag)
    return tag if mark is None else mark["own"]


def _is_marked(tag: str) -> bool:
    mark = _MARK(tag)
    return mark is not None and bool(mark["weak"] or mark["suffix"])


def _marker(answer: Answer) -> str:
    """Tell who has marked the tag of an answer, by the mark and by what it says of its way."""
    mark = _MARK(answer.etag or "")
    suffix = (mark and mark["suffix"]) or ""
    if suffix.startswith(":"):
        return "Flask-Compress"
    if suffix.startswith("-"):
        return "Apache"
    return "Varnish" if "X-Varnish" in answer.fields else "nginx"


def _told(findings: Iterable[Finding]) -> bool:
    """Print each finding; tell whether none of them is wrong."""
    is_well = True
    for finding in findings:
        is_well = is_well and finding.level != "wrong"
        click.echo(f"{finding.level.ljust(5)}  {escaped(finding.told, None)}")  # it has a server's texts
        if finding.cure:
            click.echo(f"       -> {finding.cure}")
    return is_well


def _sendable(_: click.Context, __: click.Parameter, origin: str | None) -> str | None:
    return origin and field_given(f"Origin: {origin}")[1]


@group.command("doctor")
@click.argument("url")
@click.option(
    "--header",
    "headers",
    type=field_given,
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Sent too, as Authorization.",
)
@click.option(
    "--origin",
    callback=_sendable,
    help="The origin of another site whose scripts use it: https://app.example.com.",
)
def doctor(url: str, headers: tuple[tuple[str, str], ...], origin: str | None) -> None:
    """Ask URL as a client would, and say what is in front of it does to tags, 304s and If-Match.

    It reads only, some six times. The exit status is 1 where a save of what nobody has changed would be refused,
    or where that cannot be told of a tag that was marked; 2 where the URL cannot be read.
    """
    try:
        patient = Patient(url, dict(headers))
        is_well = _told(examine(patient, origin))
    except UnreachableError as error:
        click.echo(escaped(str(error), None), err=True)
        sys.exit(2)
    if not is_well:
        sys.exit(1)
