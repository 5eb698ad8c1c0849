"""Grafana dashboards: builders, the JSON they make, and provisioning files. Not part of the wheel."""
