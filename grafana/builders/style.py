"""Colours, thresholds and mappings: one meaning, one colour, on every dashboard."""

from collections.abc import Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from exporter.catalog import AGENT_STATUSES, OTHER

GOOD: Final = "green"
WARN: Final = "orange"
BAD: Final = "red"
DULL: Final = "#808080"
TEXT: Final = "text"
TRANSPARENT: Final = "transparent"
UNKNOWN: Final = "#6e7581"
"""Grey, readable under white text on either theme."""
BAR: Final = "blue"
"""Of a bar that shows how much there is, good or bad."""

TASK_COLORS: Final = {
    "pending": "light-blue",
    "waiting": "orange",
    "provisioning": "purple",
    "queued": "yellow",
    "running": "green",
    "completed": "semi-dark-green",
    "failed": "red",
    "cancelled": DULL,
    OTHER: DULL,
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
QUANTILE_COLORS: Final = {"p50": "blue", "p95": "orange", "oldest": "red"}
# Failures by reason: warm colours, since none of them is good news.
NO_FAILURE: Final = "none"
REASON_COLORS: Final = {
    NO_FAILURE: DULL,
    "auth": "dark-red",
    "forbidden": "semi-dark-red",
    "http_5xx": "red",
    "http_4xx": "light-red",
    "timeout": "orange",
    "connect": "dark-orange",
    "tls": "super-light-orange",
    "rate_limited": "yellow",
    "schema": "purple",
    "decode": "dark-purple",
}

# Worst first, so that a table sorted by the number begins with what needs attention.
_TROUBLED: Final = ("disconnected", "unhealthy", OTHER, "syncing", "tunnel")
AGENT_CODES: Final = {
    status: code
    for code, status in enumerate((*_TROUBLED, *(each for each in AGENT_STATUSES if each not in _TROUBLED)))
}
"""A number per status, for panels that draw numbers: 0 is disconnected."""
SEVERITY_CODES: Final = {"critical": 0, "warning": 1, "info": 2}

FINE: Final = "fine"
"""In a judgement: nothing to say. What it looks like is up to the panel."""
ANY: Final = -1e12
"""Where a judgement begins that negative values have too. Not -Infinity: what is missing has the colour from there."""

Judgement = Sequence[tuple[float, str]]
"""Values in rising order, each with the colour from there on. Below the first, and where there is no value, nothing
is known: Grafana draws a missing value in the colour of the lowest threshold."""

MORE_IS_WORSE: Final = ((0, FINE), (1, BAD))
ANY_IS_A_WARNING: Final = ((0, FINE), (1, WARN))
# Red where the alert rules begin to count, as they come; orange before.
INTERVALS_BEHIND: Final = ((0, FINE), (2, WARN), (3, BAD))
WAITING: Final = ((0, FINE), (300, WARN), (900, BAD))
RUNNING: Final = ((0, FINE), (3600, WARN), (4 * 3600, BAD))
FAILURES: Final = ((0, FINE), (0.05, WARN), (0.2, BAD))
REQUEST_FAILURES: Final = ((0, FINE), (0.01, WARN), (0.1, BAD))
USE: Final = ((0, FINE), (0.95, WARN))
IN_SERVICE: Final = ((0, BAD), (0.5, WARN), (0.8, FINE))
VRAM_FREE: Final = ((0, WARN), (0.05, FINE))
HEARTBEAT: Final = ((ANY, FINE), (60, WARN), (300, BAD))
LIFETIME: Final = ((ANY, BAD), (24 * 3600, WARN), (7 * 24 * 3600, FINE))


def judged(judgement: Judgement, *, fine: str, unknown: str) -> build.ThresholdsConfig:
    """Thresholds that judge from the first value on, and leave what is missing alone."""
    return _thresholds((None, unknown), *((value, fine if color == FINE else color) for value, color in judgement))


def limit(value: float) -> build.ThresholdsConfig:
    """A threshold to be drawn as a line."""
    return _thresholds((None, TRANSPARENT), (value, BAD))


def unjudged() -> build.ThresholdsConfig:
    """No threshold. Without this Grafana takes its own: green, and red from 80 on."""
    return _thresholds((None, TEXT))


def _thresholds(*steps: tuple[float | None, str]) -> build.ThresholdsConfig:
    # None marks the lowest step; the SDK types it as a number but writes it as Grafana wants it.
    listed = [model.Threshold(value, color) for value, color in steps]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(listed)


def named(names: Mapping[float, tuple[str, str]]) -> list[model.ValueMap]:
    """Values as words: text and colour by value."""
    results = {
        f"{value:g}": model.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(names.items())
    }
    return [model.ValueMap(options=results)]


def infinite(text: str, color: str) -> list[model.ValueMap]:
    """Infinity as a word. By its name: a range without an end matches nothing in some versions of Grafana."""
    return [model.ValueMap(options={"Infinity": model.ValueMappingResult(text=text, color=color, index=0)})]


NEVER_READ: Final = infinite("never read", BAD)
NOT_ANY: Final = infinite("n/a", TRANSPARENT)
IN_SERVICE_CODE: Final = len(AGENT_CODES)
"""Stands for all agents, where each is idle or busy."""
AGENT_STATUS: Final = named(
    {
        **{code: (status, AGENT_COLORS[status]) for status, code in AGENT_CODES.items()},
        IN_SERVICE_CODE: ("in service", GOOD),
    }
)
"""For timelines."""
AGENT_STATUS_IN_TABLE: Final = named(
    {
        code: (status, AGENT_COLORS[status] if status in _TROUBLED else TRANSPARENT)
        for status, code in AGENT_CODES.items()
    }
)
NONE_FIRING: Final = len(SEVERITY_CODES)
SEVERITY: Final = named(
    {
        **{
            code: (name, color) for (name, code), color in zip(SEVERITY_CODES.items(), (BAD, WARN, "blue"), strict=True)
        },
        NONE_FIRING: ("none firing", TEXT),
    }
)
OK_OR_FAILING: Final = named({1: ("ok", GOOD), 0: ("failing", BAD)})
"""For timelines and numbers."""
FAILING_ONLY: Final = named({1: ("ok", TRANSPARENT), 0: ("failing", BAD)})
"""For tables, where a value that is fine has no colour."""
NO_OR_YES: Final = named({0: ("no", TEXT), 1: ("yes", BAD)})
