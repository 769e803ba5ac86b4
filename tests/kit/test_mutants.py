"""What the list of clauses is worth: who does one thing wrong fails it, and the right server does not."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, Response, jsonify, request

from flask_etag.entity_tags import EntityTag, MalformedField, TagList
from flask_etag.testing import Case, conformance

Tags = list[EntityTag]


class Server:
    """A page of JSON, which does what RFC 9110 asks; a mutant does something else."""

    def __init__(self) -> None:
        self.content: Any = {"text": "first"}
        self.version = 1

    @property
    def etag(self) -> EntityTag:
        return EntityTag(f"Page-in-version-{self.version}")

    def matches(self, tags: Tags) -> bool:
        """Compare for If-Match: strongly."""
        return any(tag.strongly_matches(self.etag) for tag in tags)

    def knows(self, tags: Tags) -> bool:
        """Compare for If-None-Match: weakly."""
        return any(tag.weakly_matches(self.etag) for tag in tags)

    def if_match_holds(self) -> bool:
        return self.holds("If-Match", self.matches, malformed=False)

    def if_none_match_holds(self) -> bool:
        return not self.holds("If-None-Match", self.knows, malformed=request.method == "PUT")

    def holds(self, name: str, compare: Any, *, malformed: bool) -> bool:
        field = request.headers[name]
        try:
            return field.strip() == "*" or compare(list(TagList.parse(field).members))
        except MalformedField:
            return malformed

    def page(self) -> Response:
        if "If-Match" in request.headers and not self.if_match_holds():
            return self.answer(412)
        if "If-None-Match" in request.headers and not self.if_none_match_holds():
            return self.answer(412 if request.method == "PUT" else 304)
        if request.method == "PUT":
            if not {"If-Match", "If-None-Match"} & {*request.headers.keys()}:
                return self.answer(428)
            self.write()
        return self.answer(200)

    def write(self) -> None:
        self.content = request.get_json()
        self.version += 1

    def answer(self, status: int) -> Response:
        answer = jsonify(self.content)
        answer.status_code = status
        answer.headers["ETag"] = str(self.etag)
        answer.headers["Cache-Control"] = "no-cache" if status in (200, 304) else "no-store"
        if status == 304:
            answer.set_data(b"")
            del answer.headers["Content-Length"]
        return answer


class ComparesAPrefix(Server):
    def matches(self, tags: Tags) -> bool:
        return any(tag.opaque[:8] == self.etag.opaque[:8] and not tag.weak for tag in tags)


class TakesWhatIsBegun(Server):
    def matches(self, tags: Tags) -> bool:
        return any(self.etag.opaque.startswith(tag.opaque) and not tag.weak for tag in tags)


class TakesWhatGoesOn(Server):
    def matches(self, tags: Tags) -> bool:
        return any(tag.opaque.startswith(self.etag.opaque) and not tag.weak for tag in tags)


class ComparesASuffix(Server):
    def matches(self, tags: Tags) -> bool:
        return any(tag.opaque[1:] == self.etag.opaque[1:] and not tag.weak for tag in tags)


class KnowsAPrefix(Server):
    def knows(self, tags: Tags) -> bool:
        return any(tag.opaque[:8] == self.etag.opaque[:8] for tag in tags)


class ForgetsLetters(Server):
    def matches(self, tags: Tags) -> bool:
        return any(tag.opaque.lower() == self.etag.opaque.lower() and not tag.weak for tag in tags)


class ReadsTheFirst(Server):
    def matches(self, tags: Tags) -> bool:
        return super().matches(tags[:1])


class ReadsTheLast(Server):
    def matches(self, tags: Tags) -> bool:
        return super().matches(tags[-1:])


class KnowsTheFirst(Server):
    def knows(self, tags: Tags) -> bool:
        return super().knows(tags[:1])


class KnowsTheLast(Server):
    def knows(self, tags: Tags) -> bool:
        return super().knows(tags[-1:])


class KnowsTheEnds(Server):
    def knows(self, tags: Tags) -> bool:
        return super().knows([*tags[:1], *tags[-1:]])


class MatchesWeakly(Server):
    def matches(self, tags: Tags) -> bool:
        return self.knows(tags)


class KnowsStrongly(Server):
    def knows(self, tags: Tags) -> bool:
        return self.matches(tags)


class KnowsWhatItCannotRead(Server):
    def if_none_match_holds(self) -> bool:
        return not self.holds("If-None-Match", self.knows, malformed=True)


class MatchesWhatItCannotRead(Server):
    def if_match_holds(self) -> bool:
        return self.holds("If-Match", self.matches, malformed=True)


class LooksForTheText(Server):
    def if_match_holds(self) -> bool:
        field = request.headers["If-Match"]
        return field == "*" or self.etag.opaque in field


class TakesQuotedForAny(Server):
    def if_match_holds(self) -> bool:
        return request.headers["If-Match"].strip('"') == "*" or super().if_match_holds()


class LetsReadsPass(Server):
    def if_match_holds(self) -> bool:
        return request.method != "PUT" or super().if_match_holds()


class OverwritesWhatIsThere(Server):
    def if_none_match_holds(self) -> bool:
        return request.method == "PUT" or super().if_none_match_holds()


class WritesFirst(Server):
    def if_match_holds(self) -> bool:
        if request.method == "PUT" and request.is_json:
            self.content = request.get_json(silent=True) or self.content
        return super().if_match_holds()


class SaysThatItIsDone(Server):
    def write(self) -> None:
        pass


class WritesForOneTagAlone(Server):
    def write(self) -> None:
        if "," not in request.headers.get("If-Match", ""):
            super().write()


class KeepsItsTag(Server):
    def write(self) -> None:
        self.content = request.get_json()


class AnswersTheOldTag(Server):
    def answer(self, status: int) -> Response:
        answer = super().answer(status)
        if request.method == "PUT" and status == 200:
            answer.headers["ETag"] = f'"Page-in-version-{self.version - 1}"'
        return answer


class SendsNoTagWith304(Server):
    def answer(self, status: int) -> Response:
        answer = super().answer(status)
        if status == 304:
            del answer.headers["ETag"]
        return answer


class SendsNoTagWithHead(Server):
    def answer(self, status: int) -> Response:
        answer = super().answer(status)
        if request.method == "HEAD":
            del answer.headers["ETag"]
        return answer


class SendsNoCacheControlWith304(Server):
    def answer(self, status: int) -> Response:
        answer = super().answer(status)
        if status == 304:
            del answer.headers["Cache-Control"]
        return answer


def asked(server: Server) -> list[Case]:
    app = Flask("mutant")
    app.testing = True  # what it raises is no finding
    app.add_url_rule("/page", view_func=server.page, methods=["GET", "PUT"])
    return list(conformance(app, "/page", {"text": "second"}))


def found(server: Server) -> list[str]:
    return [case.name for case in asked(server) if case.passed is False]


def test_the_right_server_fails_nothing() -> None:
    server = Server()
    assert found(server) == []
    assert server.content == {"text": "first"}


def test_one_fault_is_one_finding_and_what_was_done_by_it_is_undone() -> None:
    server = MatchesWeakly()
    assert found(server) == ["If-Match compares strongly", "a write by a weak tag is refused"]
    assert server.content == {"text": "first"}


class StartsEmpty(Server):
    @property
    def etag(self) -> EntityTag:
        return EntityTag("" if self.version == 1 else str(self.version))

    def write(self) -> None:
        if request.get_json() != self.content:
            super().write()


def test_the_empty_tag_is_as_good_as_any() -> None:
    assert found(StartsEmpty()) == []


class TakesNoIds(Server):
    """It shows an id that it gives itself, and refuses a content that has one, as schemas do by default."""

    def __init__(self) -> None:
        super().__init__()
        self.content = {"id": 1, "text": "first"}

    def page(self) -> Response:
        answer = super().page()
        if getattr(request, "is_refused", False):
            answer.status_code = 422
        return answer

    def write(self) -> None:
        content = request.get_json()
        if "id" in content:
            request.is_refused = True  # type: ignore[attr-defined]
        else:
            self.content = {"id": 1, **content}
            self.version += 1


def test_a_right_server_may_refuse_members_that_it_sets_itself() -> None:
    server = TakesNoIds()
    cases = asked(server)
    assert [case for case in cases if case.passed is False] == []
    assert server.content == {"id": 1, "text": "first"}
    assert "a write of the current state is done" in [case.name for case in cases if case.passed]


class TakesNothing(TakesNoIds):
    def write(self) -> None:
        request.is_refused = True  # type: ignore[attr-defined]


def test_where_no_content_is_known_that_is_taken_nothing_is_written() -> None:
    server = TakesNothing()
    cases = {case.name: case for case in asked(server)}
    assert [case for case in cases.values() if case.passed is False] == []
    assert cases["a write of the current state is done"].answered == "no content is known that PUT takes"
    assert server.version == 1


class GoesForward(TakesNoIds):
    def write(self) -> None:
        if self.content["text"] == "second" and request.get_json()["text"] == "first":
            request.is_refused = True  # type: ignore[attr-defined]
        else:
            super().write()


def test_what_cannot_be_put_back_is_told() -> None:
    cases = asked(GoesForward())
    assert (cases[-1].name, cases[-1].passed) == ("what was there is there again", False)
    assert "there was {'id': 1, 'text': 'first'}" in cases[-1].answered


RIGHT = (StartsEmpty, TakesNoIds)
MUTANTS = [mutant for mutant in Server.__subclasses__() if mutant not in RIGHT]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_each_that_does_one_thing_wrong_is_found(mutant: type[Server]) -> None:
    assert found(mutant()) != []
