"""Files in S3: its own ``If-Match`` compares the ETag that it gives, and ``If-None-Match: *`` only creates."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from flask import Flask, Response, request

from flask_etag import ETag, Stale, etag_resource, require_if_match, resource

# By another who was first; by one who writes at the same moment; by one who has deleted it.
REFUSED = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


@dataclass
class File:
    content: bytes
    etag: str  # of S3, with its quotes


def create_app(s3: Any, bucket: str) -> Flask:
    """Return an application that keeps its files in a bucket, by a client of boto3's."""
    app = Flask(__name__)
    ETag(app)

    @resource(etag=lambda file: file.etag.strip('"'), swaps=True)
    def find_file(name: str) -> File | None:
        try:
            found = s3.get_object(Bucket=bucket, Key=name)
        except s3.exceptions.NoSuchKey:
            return None
        return File(found["Body"].read(), found["ETag"])

    def swap(write: Any, name: str, condition: dict[str, str], **more: Any) -> Any:
        try:
            return write(Bucket=bucket, Key=name, **condition, **more)
        except ClientError as error:
            if error.response["Error"]["Code"] not in REFUSED:
                raise
            raise Stale from error

    @app.get("/files/<name>")
    @etag_resource(find_file)
    def read_file(file: File) -> Response:
        return Response(file.content, mimetype="application/octet-stream")

    @app.put("/files/<name>")
    @require_if_match(find_file, create=True)
    def replace_file(file: File | None, name: str) -> Any:
        condition = {"IfNoneMatch": "*"} if file is None else {"IfMatch": file.etag}
        stored = swap(s3.put_object, name, condition, Body=request.get_data())
        return "", 204 if file else 201, {"ETag": stored["ETag"]}

    @app.delete("/files/<name>")
    @require_if_match(find_file)
    def delete_file(file: File, name: str) -> tuple[str, int]:
        swap(s3.delete_object, name, {"IfMatch": file.etag})
        return "", 204

    return app
