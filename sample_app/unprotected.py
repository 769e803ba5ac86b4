"""What a save is without Flask-ETag: a copy of its route for one product, so that the difference can be seen."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from flask import Blueprint, Response, request
from marshmallow import ValidationError
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import Forbidden, HTTPException, NotFound, ServiceUnavailable

from sample_app.content import check_content, read_object
from sample_app.history import keep_state
from sample_app.models import Product, session
from sample_app.problems import answer_error, answer_invalid
from sample_app.schemas import product_schema

DEMO = "teapot-for-two"
"""The sku of the product that two people edit on the first page; no other can be saved unprotected."""

unprotected = Blueprint("unprotected", __name__, url_prefix="/unprotected")
unprotected.register_error_handler(ValidationError, answer_invalid)
unprotected.register_error_handler(HTTPException, answer_error)


@unprotected.errorhandler(OperationalError)
def answer_collision(_: OperationalError) -> Response:
    """Answer a write that the database refuses while another is at the row, as SERIALIZABLE does."""
    return answer_error(ServiceUnavailable("The database could not save it at this moment. Try again."))


@unprotected.before_request
def refuse_other_sites() -> None:
    """Refuse what a page of another site has a browser send; every browser says which page it was."""
    own = {"Origin": request.host_url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    if any(request.headers.get(name, value) != value for name, value in own.items()):
        raise Forbidden("Only the pages of this site may save here.")


unprotected.before_request(check_content)


@unprotected.put(f"/products/{DEMO}")
def put_product() -> dict[str, Any]:
    """Save over whatever is there."""
    members = product_schema.load({**read_object(), "sku": DEMO})
    # Past the version that the ORM would check. The row gets the next one all the same: it is the tag that the
    # protected routes tell one state from another by.
    session().execute(update(Product).where(Product.sku == DEMO).values(**members, version=token_hex(16)))
    product = session().get(Product, DEMO)
    if product is None:
        raise NotFound
    keep_state(session().connection(), product)
    session().commit()
    content: dict[str, Any] = product_schema.dump(product)
    return content
