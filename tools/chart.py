"""The generated parts of the Helm chart: the tables in its README, its copies of rules and dashboards."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = "helm/cyberun-exporter"
ROOT: Final = Path(__file__).resolve().parent.parent
RULES: Final = ROOT / "prometheus" / "rules"

_NUMBER = re.compile(r"[<>]=?\s*([0-9.e+-]+)\s*# (threshold|minimum): (.+)")
_KEY = re.compile(r"( *)([A-Za-z_]+):")

KeyPath = tuple[str, ...]
"""Keys from the top, such as ("image", "tag")."""


def generated(dashboards: Mapping[str, str], without_hold: Mapping[str, str]) -> dict[str, str]:
    """What each generated file of the chart holds, by its path in the repository.

    Helm packs no files from outside the chart, hence the copies.

    Args:
        dashboards: what each dashboard's file holds, by its path.
        without_hold: the same for the rules without hold.
    """
    sources = {path.as_posix(): path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.yml"))}
    return {
        f"{CHART}/README.md": _readme(),
        **{f"{CHART}/files/rules/{Path(name).name}": text for name, text in sources.items()},
        **{f"{CHART}/files/rules-without-hold/{Path(name).name}": text for name, text in without_hold.items()},
        **{f"{CHART}/files/dashboards/{Path(name).name}": text for name, text in dashboards.items()},
    }


def _readme() -> str:
    """The README with its tables regenerated."""
    text = (ROOT / CHART / "README.md").read_text(encoding="utf-8")
    for name, table in {"values": _values_tables(), "alerts": _alerts_table()}.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{table}\n{end}{rest.partition(end)[2]}"
    return text


# Values -----------------------------------------------------------------------------------------------------------


def described(text: str) -> Iterator[tuple[str, KeyPath, str]]:
    """Section, path and description of each key below a comment that starts with `# --`."""
    section, comment, above = "", "", [""]
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# @section "):
            section = stripped.removeprefix("# @section ")
        elif stripped.startswith("# -- "):
            comment = stripped.removeprefix("# -- ")
        elif stripped.startswith("# ") and comment:
            comment += stripped.removeprefix("#")
        elif key := _KEY.match(line):
            above[len(key[1]) // 2 :] = [key[2]]
            if comment:
                yield section, tuple(above), comment
            comment = ""


def undocumented(values: Mapping[str, Any], documented: set[KeyPath], above: KeyPath = ()) -> Iterator[KeyPath]:
    """The values without a description, of their own or of a value around them."""
    for key, value in values.items():
        path = (*above, key)
        if path in documented:
            continue
        if isinstance(value, dict) and value:
            yield from undocumented(value, documented, path)
        else:
            yield path


def _values_tables() -> str:
    text = (ROOT / CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    rows = list(described(text))
    missing = list(undocumented(values, {path for _, path, _ in rows}))
    if missing:
        raise SystemExit(f"values without a description: {missing}")
    sections = dict.fromkeys(section for section, _, _ in rows)
    tables = [
        _table(("Value", "Default", "Meaning"), (_row(values, path, what) for of, path, what in rows if of == section))
        for section in sections
    ]
    return "\n".join(f"### {section}\n\n{table}" for section, table in zip(sections, tables, strict=True))


def _row(values: Mapping[str, Any], path: KeyPath, description: str) -> tuple[str, str, str]:
    value: Any = values
    for key in path:
        value = value[key]
    # A scalar alone is a document, which YAML ends with a line of dots.
    default = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("...\n")
    return f"`{'.'.join(path)}`", f"`{default.strip()}`", description


# Alerts -----------------------------------------------------------------------------------------------------------


def _alerts_table() -> str:
    rules = [
        rule
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    return _table(("Rule", "Severity", "`for`", "Threshold", "Minimum"), filter(None, map(_alert, rules)))


def _alert(rule: Mapping[str, Any]) -> tuple[str, ...] | None:
    numbers = {mark: f"{number} {unit}" for number, mark, unit in _NUMBER.findall(rule["expr"])}
    if "alert" not in rule and not numbers:
        return None
    return (
        f"`{rule.get('alert') or rule['record']}`",
        rule.get("labels", {}).get("severity", ""),
        rule.get("for", ""),
        numbers.get("threshold", ""),
        numbers.get("minimum", ""),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
