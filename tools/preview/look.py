"""Values as text, and the colours a panel gives them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

COLORS: Final = {
    "green": "#73BF69",
    "semi-dark-green": "#56A64B",
    "dark-green": "#37872D",
    "red": "#F2495C",
    "dark-red": "#C4162A",
    "orange": "#FF9830",
    "yellow": "#FADE2A",
    "blue": "#5794F2",
    "light-blue": "#8AB8FF",
    "purple": "#B877D9",
    "transparent": "#00000000",
}
PALETTE: Final = ("#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0", "#37872D")
_DURATIONS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"), (0.000001, "µs"))
_SIZES: Final = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_SUFFIXES: Final = {"cpm": " cpm", "reqps": " req/s"}


def color(name: str) -> str:
    """Grafana's name of a colour, or the colour itself."""
    return COLORS.get(name, name)


def text(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit."""
    if not math.isfinite(value):
        return "-"
    match unit:
        case "percentunit":
            return f"{_plain(value * 100, decimals)}%"
        case "s":
            return _scaled(value, _DURATIONS, decimals)
        case "bytes":
            return _scaled(value, _SIZES, decimals)
        case _:
            return _plain(value, decimals) + _SUFFIXES.get(unit, "")


def _scaled(value: float, units: Sequence[tuple[float, str]], decimals: int | None) -> str:
    for size, name in units:
        if abs(value) >= size:
            return f"{_plain(value / size, decimals)} {name}"
    return f"{_plain(value, decimals)} {units[-1][1] if units is _SIZES else 's'}"


def _plain(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if value == round(value):
        return f"{value:.0f}"
    return f"{value:.3g}"


def by_threshold(value: float, steps: Sequence[Mapping[str, Any]]) -> str:
    """The colour of the highest step that the value reaches."""
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return color(reached[-1]["color"] if reached else "green")


def mapped(value: float, mappings: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Text and colour, where a mapping names the value."""
    for mapping in mappings:
        result = mapping["options"].get(f"{value:g}")
        if result:
            return result["text"], color(result["color"])
    return None


def shade(share: float, scheme: str) -> str:
    """A heatmap's colour for 0 to 1."""
    brightest = {"Oranges": (255, 140, 40), "Greens": (90, 200, 100), "Blues": (90, 150, 255)}[scheme]
    weight = 0.15 + 0.85 * math.sqrt(share)
    return "#" + "".join(f"{round(24 + (part - 24) * weight):02x}" for part in brightest)
