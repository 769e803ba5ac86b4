from flask import request
from prometheus_client import CollectorRegistry, Counter, generate_latest, multiprocess
from flask_etag import decided

COUNTED = Counter("flask_etag_decisions", "Conditional requests.", ["endpoint", "outcome", "reason", "raced"])

def install(app):
    @decided.connect_via(app)
    def count(_, decision):
        COUNTED.labels(request.endpoint, decision.outcome, decision.reason or "", str(decision.raced).lower()).inc()

    @app.get("/metrics")
    def metrics():
        multiprocess.MultiProcessCollector(registry := CollectorRegistry())
        return generate_latest(registry), {"Content-Type": "text/plain; version=0.0.4"}
