"""The recipes of docs/recipes.md, each with the real library: make test-recipes."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_etag import Decision, decided
from tests.recipes.served import RECIPES, recipe, served
from tests.servers import unavailable

STALE = {"If-Match": '"v0"'}
FRESH = {"If-Match": '"v1"'}
WAIT = 30  # seconds, after which a server that does not answer is given up


def watched(name: str) -> FlaskClient:
    app = served()
    recipe(name).install(app)
    return app.test_client()


def test_each_recipe_has_at_most_fifteen_lines() -> None:
    lengths = {
        path.name: len(path.read_text().splitlines()) for path in RECIPES.glob("*.py") if path.name != "trace.py"
    }
    assert len(lengths) == 6, lengths
    assert max(lengths.values()) <= 15, lengths


# Prometheus.


def ask(port: int, method: str, path: str, fields: dict[str, str]) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=WAIT)
    connection.request(method, path, headers=fields)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_prometheus_adds_up_what_several_processes_have_counted(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--workers", "3", "--bind", f"127.0.0.1:{port}"]
    command += [
        "--no-control-socket",
        "--config",
        str(RECIPES / "gunicorn.conf.py"),
        "tests.recipes.served:counted()",
    ]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "RECIPE": "prometheus"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            try:
                ask(port, "GET", "/metrics", {})
                break
            except OSError:
                time.sleep(0.05)
        sent = 0
        while sent < 60 or (len(list(tmp_path.glob("counter_*.db"))) == 1 and time.monotonic() < deadline):
            for sends in (FRESH, STALE, STALE):  # until a second process is up, and has answered
                ask(port, "PUT", "/page", sends)
            sent += 3
        status, body = ask(port, "GET", "/metrics", {})
        processes = {name.stem for name in tmp_path.glob("counter_*.db")}
    finally:
        process.terminate()
        process.wait(WAIT)
    assert status == 200
    assert len(processes) > 1, "one process has answered all of them"
    pattern = r"flask_etag_decisions_total\{(.*?)\} ([\d.]+)"
    found = {
        tuple(re.findall(r'(\w+)="(.*?)"', labels)): float(value) for labels, value in re.findall(pattern, body)
    }
    counts = {(dict(labels)["outcome"], dict(labels)["reason"]): value for labels, value in found.items() if value}
    assert counts == {("accepted", ""): sent / 3, ("refused", "stale"): sent * 2 / 3}
    # The alarms that go off at the first one are told of none before it.
    begun = {(dict(labels)["endpoint"], dict(labels)["reason"]) for labels, value in found.items() if not value}
    assert {("replace", "weakened"), ("replace", "partial")} <= begun
    assert {name for labels in found for name, _ in labels} == {"endpoint", "outcome", "reason", "raced"}


def promtool(*arguments: str) -> str:
    binary = shutil.which("promtool")
    if binary is None:
        unavailable("promtool", "apt-get install prometheus")
    ran = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_the_alarms_are_rules_of_prometheus() -> None:
    assert "SUCCESS: 5 rules found" in promtool("check", "rules", str(RECIPES / "alerts.yml"))


def test_each_alarm_goes_off_when_it_should_and_no_other() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(Path(__file__).with_name("alarms.yml")))


def test_the_dashboard_asks_prometheus_what_it_can_answer(tmp_path: Path) -> None:
    dashboard = json.loads((RECIPES / "grafana.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) >= 6
    rules = [
        {"record": f"panel:{number}", "expr": each.replace("$__rate_interval", "5m").replace("$endpoint", ".*")}
        for number, each in enumerate(expressions)
    ]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))
    assert {name for each in expressions for name in re.findall(r"\w+_total", each)} == {
        "flask_etag_decisions_total"
    }


def test_a_share_of_nothing_is_shown_as_0_and_not_left_out(tmp_path: Path) -> None:
    """What has not happened yet has no counter: the share that raced, is 304, or is not ready."""
    dashboard = json.loads((RECIPES / "grafana.json").read_text())
    expressions = {panel["title"]: panel["targets"][0]["expr"] for panel in dashboard["panels"]}
    shares = {title: expr for title, expr in expressions.items() if title.startswith("Share of")}
    expected = {
        "Share of writes that raced": 0,
        "Share of reads that are 304": 0,
        "Share of writes that are ready": 1,
    }
    assert shares.keys() == expected.keys()
    counted = 'flask_etag_decisions_total{endpoint="replace",outcome="%s",reason="",raced="false"}'
    asked = [
        {
            "expr": shares[title].replace("$__rate_interval", "5m").replace("$endpoint", ".*"),
            "eval_time": "30m",
            "exp_samples": [{"labels": '{endpoint="replace"}', "value": value}],
        }
        for title, value in expected.items()
    ]
    series = [{"series": counted % outcome, "values": "0+60x60"} for outcome in ("accepted", "served")]
    file = tmp_path / "shares.yml"
    file.write_text(json.dumps({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]}))
    assert "SUCCESS" in promtool("test", "rules", str(file))


# OpenTelemetry.


def test_opentelemetry_has_the_decision_on_the_span_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import metrics, trace  # noqa: PLC0415 - its environment is read when it is imported
    from opentelemetry.instrumentation.flask import FlaskInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415

    for line in environment_of("OpenTelemetry"):
        monkeypatch.setenv(*line.split("=", 1))
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracer_provider)
    metrics.set_meter_provider(MeterProvider([reader]))
    app = served()
    FlaskInstrumentor().instrument_app(app)
    recipe("opentelemetry").install(app)
    assert app.test_client().put("/page", headers=STALE).status_code == 412
    [span] = exporter.get_finished_spans()
    told: dict[str, Any] = dict(span.attributes or {})
    assert told["flask_etag.outcome"] == "refused"
    assert told["flask_etag.reason"] == "stale"
    assert told["flask_etag.raced"] is False
    assert told["flask_etag.resource"] == "find_page"
    assert tuple(told["http.request.header.if_match"]) == ('"v0"',)
    assert tuple(told["http.response.header.etag"]) == ('"v1"',)
    data: Any = reader.get_metrics_data()
    named = {
        metric.name: metric
        for each in data.resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
    }
    [point] = named["flask_etag.decisions"].data.data_points
    assert point.value == 1
    assert dict(point.attributes) == {
        "flask_etag.outcome": "refused",
        "flask_etag.raced": False,
        "flask_etag.reason": "stale",
        "http.route": "/page",
    }


def environment_of(heading: str) -> list[str]:
    """Return the environment variables that the page gives below a heading."""
    page = (RECIPES.parent / "recipes.md").read_text()
    block: str
    [block] = re.findall(rf"^## {heading}\n.*?```sh\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    return block.split()


# Logs.


def test_structlog_has_each_decision_with_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    import structlog  # noqa: PLC0415

    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    watched("structlog").put("/page", headers={**STALE, "X-Request-ID": "r-7"})
    assert json.loads(capsys.readouterr().out) == {
        "event": "decided",
        "outcome": "refused",
        "reason": "stale",
        "raced": False,
        "etag": '"v1"',
        "sent": '"v0"',
        "resource": "find_page",
        "endpoint": "replace",
        "request_id": "r-7",
    }


def test_json_logs_have_each_decision_with_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("flask_etag")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    client = watched("json")
    [handler] = logger.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(output := io.StringIO())
    client.put("/page", headers={**STALE, "X-Request-ID": "r-7"})
    client.put("/page", headers=FRESH)
    refused, accepted = map(json.loads, output.getvalue().splitlines())
    assert refused.pop("time")
    assert refused == {
        "level": "INFO",
        "logger": "flask_etag",
        "message": "stale: PUT replace",
        "request_id": "r-7",
        "etag_outcome": "refused",
        "etag_reason": "stale",
        "etag_raced": False,
        "etag_sent": '"v0"',
        "etag_current": '"v1"',
        "etag_resource": "find_page",
    }
    assert (accepted["level"], accepted["etag_outcome"]) == ("DEBUG", "accepted")

    def fail(_: Flask, decision: Decision) -> None:
        raise LookupError(decision.outcome)

    with decided.connected_to(fail, client.application):
        client.put("/page", headers=STALE)
    told = json.loads(output.getvalue().splitlines()[-1])
    assert told["message"].startswith("A receiver of flask_etag.decided has failed")
    assert told["message"].endswith("LookupError: refused")


# Sentry.


def test_to_sentry_a_refusal_is_no_error_and_a_real_one_says_what_was_decided() -> None:
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.transport import Transport  # noqa: PLC0415

    events: list[dict[str, Any]] = []

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            events.extend(item.payload.json for item in envelope.items if item.type == "event")

    sentry_sdk.init("http://key@127.0.0.1/1", transport=Kept)
    app = served()
    recipe("sentry").install(app)
    client = app.test_client()
    assert client.put("/page", headers=STALE).status_code == 412
    assert client.put("/page").status_code == 428
    assert events == []
    assert client.get("/broken").status_code == 500
    [event] = events
    assert event["tags"]["etag.outcome"] == "passed"
    with app.test_request_context():
        decided.send(app, decision=Decision("refused", "partial", True, resource="find_page"))
    assert events[1]["message"] == "find_page was written in part"
    assert events[1]["level"] == "warning"
