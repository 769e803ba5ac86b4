import structlog
from flask import request
from flask_etag import decided

log = structlog.get_logger("flask_etag")
TOLD = ("outcome", "reason", "raced", "etag", "sent", "resource")

def install(app):
    @decided.connect_via(app)
    def tell(_, decision):
        told = {name: getattr(decision, name) for name in TOLD}
        log.info("decided", **told, endpoint=request.endpoint, request_id=request.headers.get("X-Request-ID"))
