"""Draws dashboards with what a Prometheus answers, for people who have no Grafana at hand.

It follows the dashboards' layout, units, thresholds and colours closely enough to judge them, and no further: it is
not Grafana, and every picture says so. Usage: `python -m tools.preview --help`, or `make preview`.
"""
