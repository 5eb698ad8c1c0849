"""HTTP: the metrics, the status for people and for programs, and the probes of an orchestrator."""
