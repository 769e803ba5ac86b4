from flask import request
from opentelemetry import metrics, trace
from flask_etag import decided

DECISIONS = metrics.get_meter("flask_etag").create_counter("flask_etag.decisions")

def install(app):
    @decided.connect_via(app)
    def note(_, decision):
        told = {"flask_etag.outcome": decision.outcome, "flask_etag.raced": decision.raced}
        if decision.reason is not None:
            told["flask_etag.reason"] = decision.reason
        trace.get_current_span().set_attributes({**told, "flask_etag.resource": decision.resource or ""})
        DECISIONS.add(1, {**told, "http.route": str(request.url_rule)})
