"""Prometheus exporter for Cyberun Cloud."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up only on demand, because the lookup takes longer than an entire health check."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version  # noqa: PLC0415  it takes longer than a health check

    return version("cyberun-exporter")
