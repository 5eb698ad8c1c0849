"""Helpers for tests that run real programs over TCP: the exporter, Prometheus, Alertmanager.

All are asynchronous, so the simulated platform can live in the test's own event loop. Use them through the
fixtures of tests/integration/conftest.py, which stop everything at the end, also of a test that fails.
"""

from support.exporter import Completed, RunningExporter, run_exporter
from support.factories import AlertmanagerFactory, CommandFactory, ExporterFactory, PrometheusFactory
from support.programs import IN_TIME, free_port, required, wait_out, wait_until
from support.prometheus import RunningAlertmanager, RunningPrometheus, Series
from support.samples import Samples, parse_families, parse_openmetrics, parse_text

__all__ = [
    "IN_TIME",
    "AlertmanagerFactory",
    "CommandFactory",
    "Completed",
    "ExporterFactory",
    "PrometheusFactory",
    "RunningAlertmanager",
    "RunningExporter",
    "RunningPrometheus",
    "Samples",
    "Series",
    "free_port",
    "parse_families",
    "parse_openmetrics",
    "parse_text",
    "required",
    "run_exporter",
    "wait_out",
    "wait_until",
]
