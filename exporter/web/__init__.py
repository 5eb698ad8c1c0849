"""HTTP: metrics, status for people and programs, and health probes."""
