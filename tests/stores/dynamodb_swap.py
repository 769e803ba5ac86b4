"""Documents in DynamoDB: a condition expression compares the version, which each write makes anew."""

from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError
from flask import Flask, abort, request

from flask_etag import ETag, Stale, etag_resource, require_if_match, resource, version_column


def create_app(table: Any) -> Flask:
    """Return an application that keeps its documents in a table of boto3's, whose key is ``name``."""
    app = Flask(__name__)
    ETag(app)

    @resource(etag=version_column("version"), swaps=True)
    def find_memo(name: str) -> dict[str, str] | None:
        # Another read than a consistent one may be behind, which would cost a 412 and no more.
        found: dict[str, dict[str, str]] = table.get_item(Key={"name": name}, ConsistentRead=True)
        return found.get("Item")

    def swap(write: Any, seen: dict[str, str] | None, **what: Any) -> None:
        what["ExpressionAttributeNames"] = {"#v": "version"}
        if seen is None:
            what["ConditionExpression"] = "attribute_not_exists(#v)"
        else:
            what["ConditionExpression"] = "#v = :seen"
            what["ExpressionAttributeValues"] = {":seen": seen["version"]}
        try:
            write(**what)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            raise Stale from error

    @app.get("/memos/<name>")
    @etag_resource(find_memo)
    def read_memo(memo: dict[str, str]) -> Any:
        return {"text": memo["text"]}

    @app.put("/memos/<name>")
    @require_if_match(find_memo, create=True)
    def replace_memo(memo: dict[str, str] | None, name: str) -> Any:
        sent = request.get_json()
        if not isinstance(sent, dict) or not isinstance(sent.get("text"), str):
            abort(400, "A memo is an object that has a text.")
        new = {"name": name, "text": sent["text"], "version": uuid4().hex}
        swap(table.put_item, memo, Item=new)
        return {"text": new["text"]}, 200 if memo else 201, {"ETag": str(find_memo.etag_of(new))}

    @app.delete("/memos/<name>")
    @require_if_match(find_memo)
    def delete_memo(memo: dict[str, str], name: str) -> tuple[str, int]:
        swap(table.delete_item, memo, Key={"name": name})
        return "", 204

    return app
