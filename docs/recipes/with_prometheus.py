from flask import request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest, multiprocess
from flask_etag import decided
COUNTED = Counter("flask_etag_decisions", "Conditional requests.", ["endpoint", "outcome", "reason", "raced"])

def install(app):
    @decided.connect_via(app)
    def count(_, decision):
        COUNTED.labels(request.endpoint, decision.outcome, decision.reason or "", str(decision.raced).lower()).inc()
    @app.get("/metrics")
    def metrics():
        for each in app.view_functions:  # an alarm hears of the first one only if there was a 0 before it
            COUNTED.labels(each, "refused", "weakened", "false")
            COUNTED.labels(each, "refused", "partial", "true")
        return generate_latest(multiprocess.MultiProcessCollector(CollectorRegistry())), {"Content-Type": CONTENT_TYPE_LATEST}
