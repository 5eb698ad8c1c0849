"""Colours, thresholds and mappings: one meaning, one colour, on every dashboard."""

from collections.abc import Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from exporter.catalog import AGENT_STATUSES, OTHER

GOOD: Final = "green"
FINE: Final = "blue"
WARN: Final = "orange"
BAD: Final = "red"
DULL: Final = "#808080"

TASK_COLORS: Final = {
    "pending": "light-blue",
    "waiting": "orange",
    "queued": "yellow",
    "running": "green",
    "completed": "semi-dark-green",
    "failed": "red",
    "cancelled": DULL,
}
AGENT_COLORS: Final = {
    "idle": "blue",
    "busy": "green",
    "syncing": "yellow",
    "tunnel": "purple",
    "unhealthy": "orange",
    OTHER: DULL,
    "disconnected": "dark-red",
}
QUANTILE_COLORS: Final = {"p50": "blue", "p95": "orange", "oldest": "red", "longest": "red"}

# Worst first, so that a table sorted by the number begins with what needs attention.
_TROUBLED: Final = ("disconnected", "unhealthy", OTHER, "syncing", "tunnel")
AGENT_CODES: Final = {
    status: code
    for code, status in enumerate((*_TROUBLED, *(each for each in AGENT_STATUSES if each not in _TROUBLED)))
}
"""A number per status, for panels that draw numbers: 0 is disconnected."""

Steps = Sequence[tuple[float | None, str]]


def steps(base: str, *higher: tuple[float, str]) -> Steps:
    """Thresholds: the colour below all of them, then each value with the colour from there on."""
    return ((None, base), *higher)


MORE_IS_WORSE: Final = steps(GOOD, (1, BAD))
ANY_IS_A_WARNING: Final = steps(GOOD, (1, WARN))
DATA_AGE: Final = steps(GOOD, (90, WARN), (120, BAD))
# Red where the alert rules begin to count, as they come; orange before.
WAITING: Final = steps(GOOD, (300, WARN), (900, BAD))
RUNNING: Final = steps(GOOD, (3600, WARN), (4 * 3600, BAD))
FAILURES: Final = steps(GOOD, (0.05, WARN), (0.2, BAD))
USE: Final = steps(FINE, (0.5, GOOD), (0.95, WARN))
IN_SERVICE: Final = steps(BAD, (0.5, WARN), (0.8, GOOD))
VRAM_FREE: Final = steps(WARN, (0.05, GOOD))
HEARTBEAT: Final = steps(GOOD, (60, WARN), (300, BAD))
LIFETIME: Final = steps(BAD, (600, WARN), (1800, GOOD))
COUNT: Final = steps(FINE)


def thresholds(chosen: Steps) -> build.ThresholdsConfig:
    """Absolute thresholds."""
    # None marks the lowest step; the SDK types it as a number but writes it as Grafana wants it.
    listed = [model.Threshold(value, color) for value, color in chosen]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(listed)


def named(names: Mapping[float, tuple[str, str]]) -> list[model.ValueMapping]:
    """Values as words: text and colour by value."""
    results = {
        f"{value:g}": model.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(names.items())
    }
    return [model.ValueMap(options=results)]


AGENT_STATUS: Final = named({code: (status, AGENT_COLORS[status]) for status, code in AGENT_CODES.items()})
YES_OR_NO: Final = named({1: ("ok", GOOD), 0: ("failing", BAD)})
NO_OR_YES: Final = named({0: ("no", GOOD), 1: ("yes", BAD)})
