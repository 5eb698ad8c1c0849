"""Tables: rows merged over the labels that all queries share."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tools.preview import look
from tools.preview.data import Series

Answers = Sequence[Sequence[Series]]


def table(panel: Mapping[str, Any], answers: Answers) -> str:
    """Rows merged over the labels that all queries share, in the order and under the titles the panel gives."""
    organize = next(each["options"] for each in panel["transformations"] if each["id"] == "organize")
    titles: dict[str, str] = organize["renameByName"]
    values = ["Value"] if len(answers) == 1 else [f"Value #{target['refId']}" for target in panel["targets"]]
    shared = set.intersection(*(set().union(*(series.labels for series in answer)) for answer in answers if answer))
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, answer in zip(values, answers, strict=True):
        for series in answer:
            row = rows.setdefault(tuple(series.labels.get(label, "") for label in sorted(shared)), {})
            row |= dict(series.labels) | {name: series.last}
    fields = sorted(titles, key=organize["indexByName"].__getitem__)
    properties = {each["matcher"]["options"]: each["properties"] for each in panel["fieldConfig"]["overrides"]}
    ordered = _sorted(list(rows.values()), panel["options"].get("sortBy") or [], {v: k for k, v in titles.items()})
    head = "".join(f"<th>{html.escape(titles[field])}</th>" for field in fields)
    body = "".join(
        f"<tr>{''.join(_cell(row.get(field), properties.get(titles[field], ())) for field in fields)}</tr>"
        for row in ordered
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _sorted(
    rows: list[dict[str, Any]], order: Sequence[Mapping[str, Any]], fields: Mapping[str, str]
) -> list[dict[str, Any]]:
    for each in order:
        field = fields[each["displayName"]]
        rows.sort(key=lambda row: row.get(field, -math.inf), reverse=each["desc"])
    return rows


def _cell(value: Any, properties: Sequence[Mapping[str, Any]]) -> str:
    chosen = {each["id"]: each["value"] for each in properties}
    if value is None:
        return "<td></td>"
    if isinstance(value, str):
        escaped = html.escape(value)
        return f"<td>{f'<a>{escaped}</a>' if 'links' in chosen else escaped}</td>"
    shown, color = look.mapped(value, chosen.get("mappings", ())) or (
        look.text(value, chosen.get("unit", "none"), chosen.get("decimals")),
        look.by_threshold(value, chosen["thresholds"]["steps"]) if "thresholds" in chosen else "",
    )
    match chosen.get("custom.cellOptions", {}).get("type"):
        case "color-background":
            return f'<td style="background:{color};color:#111">{shown}</td>'
        case "color-text":
            return f'<td style="color:{color}">{shown}</td>'
        case "gauge":
            share = 100 * min(value / chosen["max"], 1)
            bar = f'<s><i style="width:{share:.0f}%;background:{color}"></i></s>'
            return f'<td>{bar} <b style="color:{color}">{shown}</b></td>'
        case _:
            return f"<td>{shown}</td>"
