"""The shapes that a product can be had in: JSON or CSV, with all its members or some.

Each shape has an ETag of its own, so that a cache never takes one for another; and any of them is as good in
If-Match, since what is saved is the product. The resource and the view ask the same function which one it is.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from io import StringIO

from flask import Response, jsonify, request
from marshmallow import ValidationError

from sample_app.models import Product
from sample_app.schemas import ProductSchema, product_schema

_JSON, _CSV = "application/json", "text/csv"
_MEMBERS = tuple(product_schema.fields)


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a product.

    :param media_type: ``application/json`` or ``text/csv``.
    :param members: the names of the members that it has.
    """

    media_type: str = _JSON
    members: tuple[str, ...] = _MEMBERS

    @property
    def name(self) -> str | None:
        """What tells it from the others; ``None`` for the one that is had without asking."""
        return None if self == Shape() else f"{self.media_type} {','.join(self.members)}"

    def show(self, product: Product) -> Response:
        """Answer with a product in this shape."""
        content = ProductSchema(only=self.members).dump(product)
        if self.media_type == _JSON:
            return jsonify(content)
        rows = StringIO()
        writer = csv.DictWriter(rows, self.members)
        writer.writeheader()
        writer.writerow(content)
        return Response(rows.getvalue(), mimetype=_CSV)


def shape_asked_for() -> Shape:
    """Return the shape that this request asks for, by its Accept and its ``?fields=``."""
    media_type = request.accept_mimetypes.best_match([_JSON, _CSV]) or _JSON
    fields = request.args.get("fields")
    if fields is None:
        return Shape(media_type)
    asked = set(fields.split(","))
    if not asked <= set(_MEMBERS):
        raise ValidationError({"fields": [f"Takes some of {', '.join(_MEMBERS)}, with commas between."]})
    return Shape(media_type, tuple(member for member in _MEMBERS if member in asked))
