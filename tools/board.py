"""Grafana board and Prometheus alert rules in deploy/: `python tools/board.py` writes them, `--check` fails when they are
out of date. Every metric of the gateway has a panel, or stands in the expression of another's."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from inlake.metrics import Metrics
from inlake.settings import load
from inlake.web.app import create_app
from inlake.wiring import connect

ROOT = Path(__file__).parent.parent
BOARD, ALERTS = ROOT / "deploy" / "grafana.json", ROOT / "deploy" / "alerts.yml"
SOURCE = {"type": "prometheus", "uid": "${source}"}
ALL = '{job="$job"}'


class Panel(NamedTuple):
    """A picture of the board."""

    title: str
    about: str
    unit: str
    expressions: dict[str, str]
    """By what each line is called."""


class Alert(NamedTuple):
    """A rule that wakes somebody, or waits for the morning."""

    name: str
    expression: str
    minutes: int
    severity: str
    summary: str
    advice: str


PANELS = [
    Panel("Requests", "Answers a second by status.", "reqps", {"{{status}}": f"sum by (status) (rate(inlake_requests_total{ALL}[$__rate_interval]))"}),
    Panel("Time of a request", "99 of 100 requests take at most so long, by route. Streams and uploads take as long as their clients do.", "s", {"{{route}}": f"histogram_quantile(0.99, sum by (le, route) (rate(inlake_request_seconds_bucket{ALL}[$__rate_interval])))"}),
    Panel("Records", "Records a second by result.", "short", {"{{result}}": f"sum by (result) (rate(inlake_records_total{ALL}[$__rate_interval]))"}),
    Panel("Binaries", "Bytes of binaries a second.", "Bps", {"received": f"sum(rate(inlake_binary_bytes_total{ALL}[$__rate_interval]))"}),
    Panel("In flight", "Requests that are being answered, and how many may be: fewer than usual means that the processors have too much to do.", "short", {"now": f"sum(inlake_requests_in_flight{ALL})", "at most": f"sum(inlake_requests_limit{ALL})"}),
    Panel("Memory of bodies", "Bytes set aside for bodies in flight.", "bytes", {"set aside": f"sum(inlake_memory_in_flight_bytes{ALL})"}),
    Panel("Refused by quotas", "Requests and lines a second beyond a quota.", "short", {"{{quota}} {{unit}}": f"sum by (quota, unit) (rate(inlake_quota_refused_total{ALL}[$__rate_interval]))"}),
    Panel("Rejects", "Refused records that are kept, by reason, and those that could not be.", "short", {"{{code}}": f"sum by (code) (rate(inlake_rejects_kept_total{ALL}[$__rate_interval]))", "lost": f"sum(rate(inlake_rejects_lost_total{ALL}[$__rate_interval]))"}),
    Panel("Outbox", "Events that wait on disks while Kafka is away, those a second that came there and went on, and those that Kafka will not take.", "short", {"wait": f"sum(inlake_outbox_events{ALL})", "kept a second": f"sum(rate(inlake_outbox_kept_total{ALL}[$__rate_interval]))", "published a second": f"sum(rate(inlake_outbox_published_total{ALL}[$__rate_interval]))", "refused": f"sum(inlake_outbox_refused{ALL})"}),
    Panel("Outbox, bytes", "What the events take that wait.", "bytes", {"wait": f"sum(inlake_outbox_bytes{ALL})"}),
    Panel("Sweep", "What sweeps found, a minute.", "short", {"{{what}}": f"60 * sum by (what) (rate(inlake_sweep_total{ALL}[$__rate_interval]))"}),
]  # fmt: skip
RULES = [
    Alert("InlakeDown", "up{job=\"inlake\"} == 0", 2, "page", "A gateway does not answer.", "Look at its log and at /health/live."),
    Alert("InlakeFails", 'sum by (job) (rate(inlake_requests_total{job="inlake",status=~"5.."}[5m])) / sum by (job) (rate(inlake_requests_total{job="inlake"}[5m])) > 0.05', 5, "page", "More than 5 % of the requests fail.", "/health/ready says which of bus, store and registry is away; the log has each failure."),
    Alert("InlakeRecordsFail", 'sum by (job) (rate(inlake_records_total{job="inlake",result="failed"}[5m])) / sum by (job) (rate(inlake_records_total{job="inlake"}[5m])) > 0.01', 5, "page", "More than 1 % of the records could not be published.", "Nothing is lost that its client sends again; /health/ready says what is away."),
    Alert("InlakeOverloaded", 'sum by (job) (inlake_requests_in_flight{job="inlake"}) / sum by (job) (inlake_requests_limit{job="inlake"}) > 0.9', 5, "page", "The gateway takes nearly as many requests at once as it may, and refuses others.", "Add workers or machines; INLAKE_QUOTA_PRINCIPAL bounds one client that sends too much."),
    Alert("InlakeSlow", 'histogram_quantile(0.99, sum by (job, le) (rate(inlake_request_seconds_bucket{job="inlake",route="/ingress/record-json"}[10m]))) > 5', 10, "ticket", "One of a hundred requests with records takes more than 5 seconds.", "Compare with the bus and the registry; streams count, too, and take as long as their clients do."),
    Alert("InlakeMemory", 'sum by (job, instance) (inlake_memory_in_flight_bytes{job="inlake"}) > 0.9 * 1073741824', 5, "ticket", "Bodies in flight take nearly all the memory that INLAKE_MAX_MEMORY gives one process by default.", "Give more, or add workers."),
    Alert("InlakeRejectsMany", 'sum by (job) (rate(inlake_records_total{job="inlake",result="rejected"}[15m])) / sum by (job) (rate(inlake_records_total{job="inlake"}[15m])) > 0.2', 15, "ticket", "More than a fifth of the records is refused.", "`inlake rejects list` shows the causes."),
    Alert("InlakeRejectsLost", 'increase(inlake_rejects_lost_total{job="inlake"}[15m]) > 0', 0, "ticket", "Refused records could not be kept.", "The log says why: a full disk, or more than could be written."),
    Alert("InlakeQuota", 'sum by (job, quota, unit) (rate(inlake_quota_refused_total{job="inlake"}[15m])) > 0', 15, "ticket", "Somebody sends more than a quota allows, for a quarter of an hour.", "The access log says who; see how much one may send."),
    Alert("InlakeOutboxWaits", 'max by (job, instance) (inlake_outbox_oldest_seconds{job="inlake"}) > 300', 5, "page", "Events have waited for Kafka for more than five minutes.", "/health/ready says what keeps them; beyond INLAKE_OUTBOX_BYTES records are refused."),
    Alert("InlakeOutboxRefused", 'sum by (job, instance) (inlake_outbox_refused{job="inlake"}) > 0', 0, "ticket", "Kafka refuses events for good that clients were told are accepted.", "`inlake outbox list` on the machine of the gateway names them with the reason; `inlake outbox resend` sends them again once that is mended."),
    Alert("InlakeUnreadable", 'increase(inlake_sweep_total{job="inlake",what="unreadable"}[1h]) > 0', 0, "ticket", "A sweep found promises that it cannot read.", "The log names them."),
]  # fmt: skip


def metrics() -> set[str]:
    """The names of all metrics that a gateway has, those too that appear with their first event."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "INLAKE_BUS": f"sqlite:{folder}/events.db",
            "INLAKE_STORE": f"file:{folder}/store",
            "INLAKE_REGISTRY": f"dir:{folder}/schemas",
        }
        create_app(connect(load(environment), environment), counted := Metrics())
        names = set(counted.families())
    page = (ROOT / "docs" / "reference" / "http.md").read_text()
    return names | set(re.findall(r"`(inlake_[a-z_]+)`", page.partition("## Metrics")[2].partition("\n## ")[0]))


def board() -> dict[str, Any]:
    """The board, as Grafana imports it (schema version 39, Grafana 10 and newer)."""
    panels = [_panel(number, panel) for number, panel in enumerate(PANELS)]
    job = {
        "name": "job",
        "label": "Job",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(inlake_requests_in_flight, job)", "refId": "job"},
        "refresh": 2,
    }
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "inlake",
        "title": "Inlake",
        "tags": ["inlake"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [source, job]},
        "panels": panels,
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expression, "legendFormat": name}
        for i, (name, expression) in enumerate(panel.expressions.items())
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"x": number % 3 * 8, "y": number // 3 * 8, "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def alerts() -> str:
    """The rules, as Prometheus reads them: each text as JSON, which is YAML, too."""
    lines = ["# Made by tools/board.py.", "groups:", "  - name: inlake", "    rules:"]
    for alert in RULES:
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {json.dumps(alert.expression)}",
            f"        for: {alert.minutes}m",
            f"        labels: {{severity: {alert.severity}}}",
            "        annotations:",
            f"          summary: {json.dumps(alert.summary)}",
            f"          description: {json.dumps(alert.advice)}",
        ]
    return "\n".join(lines) + "\n"


def expressions() -> list[str]:
    """All that the board and the rules ask Prometheus."""
    return [e for panel in PANELS for e in panel.expressions.values()] + [alert.expression for alert in RULES]


def main() -> int:
    """0 when the files say what this one says."""
    wanted = {BOARD: json.dumps(board(), indent=1) + "\n", ALERTS: alerts()}
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    if "--check" not in sys.argv[1:]:
        for path in stale:
            path.write_text(wanted[path])
        print("Written:", *(path.relative_to(ROOT) for path in stale))
        return 0
    if stale:
        print("Out of date, run python tools/board.py:", *(path.relative_to(ROOT) for path in stale))
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
