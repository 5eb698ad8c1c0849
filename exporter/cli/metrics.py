"""`metrics`: the metric reference."""

from exporter.cli.arguments import Arguments
from exporter.expose.reference import markdown


def run(_: Arguments) -> int:
    """Print the reference as markdown; 0."""
    print(markdown(), end="")
    return 0
