"""Prometheus exporter for Cyberun Cloud."""

from importlib.metadata import version

__version__ = version("cyberun-exporter")
