import sentry_sdk
from flask_etag import decided

def install(app):
    @decided.connect_via(app)
    def note(_, decision):
        sentry_sdk.set_tag("etag.outcome", decision.outcome)
        sentry_sdk.set_tag("etag.reason", decision.reason or "none")
        if decision.reason == "partial":
            sentry_sdk.capture_message(f"{decision.resource} was written in part", "warning")
