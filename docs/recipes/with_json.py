import json
import logging
from flask import has_request_context, request

class JSONFormatter(logging.Formatter):
    def format(self, record):
        told = {name: value for name, value in vars(record).items() if name.startswith("etag_")}
        asked = request.headers.get("X-Request-ID") if has_request_context() else None
        about = {"time": self.formatTime(record), "logger": record.name, "level": record.levelname}
        return json.dumps({**about, "message": super().format(record), "request_id": asked, **told})

def install(app):
    (handler := logging.StreamHandler()).setFormatter(JSONFormatter())
    logging.getLogger("flask_etag").addHandler(handler)
    logging.getLogger("flask_etag").setLevel(logging.DEBUG)
