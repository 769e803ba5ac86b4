"""The sample app does what its OpenAPI document says: schemathesis makes requests of it, and follows its links."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from flask import Flask, Response, request
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.specs.openapi.checks import positive_data_acceptance

from sample_app import create_app
from sample_app.models import Base, db
from sample_app.seeds import prepare_database

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)

# A condition is judged before the content is read: what is wrong may be stale first.
CONFIG = {
    "checks": {
        "negative_data_rejection": {
            "expected-statuses": [
                "400",
                "401",
                "403",
                "404",
                "405",
                "406",
                "409",
                "412",
                "415",
                "422",
                "428",
                "5xx",
            ]
        }
    }
}

# The document cannot say all that a text has to be (no NUL, say), nor whether a request will be stale.
LEFT_OUT = [positive_data_acceptance]


@pytest.fixture
def answered() -> Counter[tuple[str, int]]:
    return Counter()


@pytest.fixture
def shop(answered: Counter[tuple[str, int]]) -> Flask:
    shop = create_app({"SQLALCHEMY_DATABASE_URI": "sqlite://"})

    @shop.after_request
    def count(response: Response) -> Response:
        answered[request.method, response.status_code] += 1
        return response

    return shop


def schema_of(shop: Flask) -> Any:
    return schemathesis.openapi.from_wsgi("/api/openapi.json", shop, config=schemathesis.Config.from_dict(CONFIG))


def test_each_operation_answers_as_the_document_says(shop: Flask, answered: Counter[tuple[str, int]]) -> None:
    for found in schema_of(shop).get_all_operations():
        operation = found.ok()

        @seed(1)
        @settings(PATIENT, max_examples=40)
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            case.call_and_validate(excluded_checks=LEFT_OUT)

        check()
    assert {status for _, status in answered} >= {200, 201, 304, 404, 409, 412, 422, 428}
    assert not any(status >= 500 for _, status in answered)


def test_who_follows_the_links_gets_writes_accepted(shop: Flask, answered: Counter[tuple[str, int]]) -> None:
    class Visit(schema_of(shop).as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            """Begin each visit with the same store: Hypothesis expects the same effects of the same steps."""
            with shop.app_context():
                Base.metadata.drop_all(db.engine)
                prepare_database()

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(response, excluded_checks=LEFT_OUT)

    # Tags are random, and may be drawn from answers: that two runs differ by them is no failure.
    with suppress(FlakyStrategyDefinition):
        Visit.run(settings=settings(PATIENT, max_examples=40, stateful_step_count=10, phases=[Phase.generate]))
    accepted = Counter({method: count for (method, status), count in answered.items() if status in (200, 204)})
    assert accepted["GET"], answered
    assert accepted["PUT"] + accepted["PATCH"] + accepted["DELETE"], answered
    assert not any(status >= 500 for _, status in answered)
