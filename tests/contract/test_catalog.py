"""The catalogue keeps Prometheus' naming rules and names exactly what users rely on."""

import math
import re

import pytest

from exporter import errors
from exporter.catalog import (
    CATALOG,
    DOMAIN_METRICS,
    EXPORTER_METRICS,
    ClosedSet,
    Kind,
    Metric,
)

TEAM = "team_name"
COLLECTOR = f"{TEAM} collector"
AGENT = f"{TEAM} agent_id"
GPU = f"{AGENT} gpu"

# What dashboards and alerts outside of this repository use: a change here breaks them.
PUBLISHED = {
    "cyberun_tasks": ("gauge", f"{TEAM} status"),
    "cyberun_task_oldest_created_timestamp_seconds": ("gauge", f"{TEAM} status"),
    "cyberun_task_oldest_started_timestamp_seconds": ("gauge", TEAM),
    "cyberun_tasks_without_eligible_agent": ("gauge", TEAM),
    "cyberun_tasks_on_absent_agents": ("gauge", TEAM),
    "cyberun_tasks_retrying": ("gauge", TEAM),
    "cyberun_task_execution_seconds_total": (
        "counter",
        f"{TEAM} status gpu_type dispatch_target target_pool tool_type",
    ),
    "cyberun_agent_tasks_failed_total": ("counter", AGENT),
    "cyberun_workflow_tasks_finished_total": ("counter", f"{TEAM} workflow_id status"),
    "cyberun_workflow_execution_seconds_total": ("counter", f"{TEAM} workflow_id status"),
    "cyberun_workflow_info": ("info", f"{TEAM} workflow_id workflow_slug display_name"),
    "cyberun_task_wait_seconds": ("histogram", TEAM),
    "cyberun_task_run_seconds": ("histogram", f"{TEAM} status"),
    "cyberun_tasks_finished_total": ("counter", f"{TEAM} status"),
    "cyberun_task_retries_total": ("counter", TEAM),
    "cyberun_agents": ("gauge", f"{TEAM} status"),
    "cyberun_agent_status": ("gauge", f"{AGENT} status"),
    "cyberun_agent_running_tasks": ("gauge", AGENT),
    "cyberun_agent_gpu_capacity": ("gauge", AGENT),
    "cyberun_agent_tasks_completed_total": ("counter", AGENT),
    "cyberun_agent_connected": ("gauge", AGENT),
    "cyberun_agent_last_seen_timestamp_seconds": ("gauge", AGENT),
    "cyberun_agent_last_heartbeat_timestamp_seconds": ("gauge", AGENT),
    "cyberun_agent_connected_timestamp_seconds": ("gauge", AGENT),
    "cyberun_agent_sync_ratio": ("gauge", f"{AGENT} phase"),
    "cyberun_agent_info": (
        "info",
        f"{AGENT} agent_version tool tool_version comfyui_version pytorch_version os_type platform_arch",
    ),
    "cyberun_agent_label": ("gauge", f"{AGENT} label"),
    "cyberun_agent_gpu_vram_size_bytes": ("gauge", GPU),
    "cyberun_agent_gpu_vram_free_bytes": ("gauge", GPU),
    "cyberun_agent_gpu_info": ("info", f"{GPU} device_name device_type"),
    "cyberun_team_info": ("info", f"{TEAM} team_id credential_kind"),
    "cyberun_team_quota": ("gauge", f"{TEAM} quota"),
    "cyberun_up": ("gauge", TEAM),
    "cyberun_collector_success": ("gauge", COLLECTOR),
    "cyberun_collector_duration_seconds": ("gauge", COLLECTOR),
    "cyberun_collector_interval_seconds": ("gauge", COLLECTOR),
    "cyberun_collector_last_success_timestamp_seconds": ("gauge", COLLECTOR),
    "cyberun_collector_last_attempt_timestamp_seconds": ("gauge", COLLECTOR),
    "cyberun_collector_items": ("gauge", COLLECTOR),
    "cyberun_collector_items_reported": ("gauge", COLLECTOR),
    "cyberun_collector_truncated": ("gauge", COLLECTOR),
    "cyberun_exporter_api_requests_total": ("counter", f"{TEAM} path"),
    "cyberun_exporter_api_request_failures_total": ("counter", f"{TEAM} path reason"),
    "cyberun_exporter_api_request_seconds": ("histogram", "path"),
    "cyberun_exporter_api_backoff_until_timestamp_seconds": ("gauge", TEAM),
    "cyberun_exporter_unknown_values_total": ("counter", "field"),
    "cyberun_exporter_series": ("gauge", TEAM),
    "cyberun_exporter_series_dropped": ("gauge", TEAM),
    "cyberun_exporter_clock_skew_seconds": ("gauge", ""),
    "cyberun_exporter_internal_errors_total": ("counter", "operation"),
    "cyberun_exporter_log_lines_dropped_total": ("counter", ""),
    "cyberun_exporter_credential_last_load_timestamp_seconds": ("gauge", TEAM),
    "cyberun_exporter_credential_expiry_timestamp_seconds": ("gauge", TEAM),
    "cyberun_discovery_success": ("gauge", "discovery"),
    "cyberun_discovery_last_success_timestamp_seconds": ("gauge", "discovery"),
    "cyberun_discovery_teams": ("gauge", "discovery state"),
    "cyberun_exporter_config_last_reload_successful": ("gauge", ""),
    "cyberun_exporter_config_last_reload_success_timestamp_seconds": ("gauge", ""),
    "cyberun_exporter_build_info": ("info", "version revision python_version"),
}
REASONS = "timeout connect tls redirect auth forbidden not_found rate_limited http_4xx http_5xx too_large decode schema"

BASE_UNITS = {"seconds", "bytes", "ratio"}
OTHER_UNITS = {
    "ms",
    "milliseconds",
    "minutes",
    "hours",
    "days",
    "percent",
    "kb",
    "mb",
    "gb",
    "kib",
    "mib",
    "gib",
    "megabytes",
}
# Labels that mean something else to Prometheus, OpenMetrics or what relabelling adds.
RESERVED_LABELS = {"type", "le", "quantile", "team", "endpoint", "env", "job", "instance"}
SUFFIXES = {
    Kind.GAUGE: ("",),
    Kind.COUNTER: ("", "_total", "_created"),
    Kind.HISTOGRAM: ("", "_bucket", "_count", "_sum", "_created"),
    Kind.INFO: ("", "_info"),
}

every_metric = pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)


def test_published_names_types_and_labels() -> None:
    """Exactly the metrics that users rely on exist, with their names, types and labels."""
    found = {m.name: (m.kind.value, " ".join(m.label_names)) for m in CATALOG}
    assert found == PUBLISHED, "name a new metric in PUBLISHED above; whoever uses a published one relies on it"


def test_published_reasons() -> None:
    """The values of the label `reason` are a closed set."""
    assert " ".join(errors.REASONS) == REASONS


@every_metric
def test_name(metric: Metric) -> None:
    """Snake case with our prefix; `_total` on all counters and `_info` on all infos, and on nothing else."""
    assert re.fullmatch(r"cyberun(_[a-z0-9]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.endswith("_info") == (metric.kind is Kind.INFO)
    assert not metric.name.endswith(("_bucket", "_count", "_sum", "_created"))


@every_metric
def test_unit(metric: Metric) -> None:
    """The unit is a base unit and ends the family's name; a name that ends in a unit declares it."""
    words = metric.family.split("_")
    assert metric.unit == (words[-1] if words[-1] in BASE_UNITS else "")
    assert not OTHER_UNITS & set(words)
    if "timestamp" in words:
        assert words[-2:] == ["timestamp", "seconds"]


@every_metric
def test_labels(metric: Metric) -> None:
    """Labels are snake case, unique, not reserved; domain series carry the team first."""
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", label) for label in metric.label_names)
    assert len(set(metric.label_names)) == len(metric.label_names)
    assert not RESERVED_LABELS & set(metric.label_names)
    if metric in DOMAIN_METRICS:
        assert metric.label_names[0] == TEAM


@every_metric
def test_help(metric: Metric) -> None:
    """The help is a line of plain text that starts like a sentence and ends in a period."""
    assert re.fullmatch(r"[A-Z0-9][ -~]*\.", metric.help)
    assert "  " not in metric.help
    assert "\\" not in metric.help


@every_metric
def test_buckets(metric: Metric) -> None:
    """Histograms, and only they, have bounds: ascending and finite."""
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert all(map(math.isfinite, metric.buckets))


def test_families_do_not_clash() -> None:
    """No sample name of one family can be one of another, as OpenMetrics requires."""
    owners: dict[str, str] = {}
    for metric in CATALOG:
        for name in (metric.family + suffix for suffix in SUFFIXES[metric.kind]):
            assert name not in owners, f"{name} belongs to {owners[name]} and {metric.name}"
            owners[name] = metric.name


def test_order() -> None:
    """Metrics about the exporter come first in the exposition, and every metric is either about it or about a team."""
    assert CATALOG == EXPORTER_METRICS + DOMAIN_METRICS


def test_labels_have_one_kind_of_bound() -> None:
    """Labels of the same name have the same bound in every metric, and a closed set lists each value once."""
    kinds: dict[str, type] = {}
    for metric in CATALOG:
        for label in metric.labels:
            kind = kinds.setdefault(label.name, type(label.bound))
            assert type(label.bound) is kind, f"{label.name} of {metric.name}: {kind.__name__} elsewhere"
            if isinstance(label.bound, ClosedSet):
                assert len(set(label.bound.values)) == len(label.bound.values) > 0
