from __future__ import annotations

import pytest
from flask import Flask

from flask_etag import ETag


def test_one_extension_serves_several_applications() -> None:
    etag = ETag()
    for name in ("one", "two"):
        etag.init_app(Flask(name))


def test_an_application_is_initialised_once() -> None:
    twice = Flask("twice")
    ETag(twice)
    with pytest.raises(RuntimeError, match="initialised for this application already"):
        ETag(twice)


def test_what_is_no_application_is_refused() -> None:
    with pytest.raises(TypeError, match=r"An entity tag is EntityTag\(\.\.\.\)"):
        ETag("abc")  # type: ignore[arg-type]


def test_a_setting_of_the_wrong_type_is_refused() -> None:
    wrong = Flask("wrong")
    wrong.config["ETAG_CACHE_CONTROL"] = 60
    with pytest.raises(ValueError, match="ETAG_CACHE_CONTROL is 60"):
        ETag(wrong)
