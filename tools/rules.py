"""The variant of the alert rules without hold, for rulers that lack `ALERTS` or evaluate recordings late.

An alert of prometheus/rules is `fresh condition or held condition` over recordings. Here the held part is removed, and
each recording is replaced by its expression, so every alert uses only scraped series.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import indent
from typing import Any, Final

import promql_parser
import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = "prometheus/rules"
WITHOUT_HOLD: Final = "prometheus/rules-without-hold"

HEAD: Final = """\
# Generated from ../rules by `make generate`; do not edit.
#
# The same alerts without hold: for vmalert, Grafana-managed alerting and whatever else evaluates rules without ALERTS
# series or with recordings that appear late. They start on fresh data alone, and end when it is withheld.
# Load either these or ../rules, never both. docs/compatibility.md says which ruler gets which.

"""

_WORD: Final = re.compile(r'#[^\n]*|"(?:\\.|[^"\\])*"|[()]|\bor\b|[\w:]+|\s+|.')
_RECORDING: Final = re.compile(r"\b([a-z]+:cyberun_\w+:\w+)(?:\{([^}]*)\})?(\[(\w+)\])?")
_FRESH: Final = re.compile(r"\n *and on \(job, team_name\) team:\w+:fresh$", re.MULTILINE)
_HELD: Final = re.compile(r"\bALERTS\{|:withheld\b")


def generated() -> dict[str, str]:
    """The content of each file of the variant, by its path in the repository."""
    sources = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in sorted((ROOT / SOURCE).glob("*.yml"))}
    rules = [rule for source in sources.values() for group in source["groups"] for rule in group["rules"]]
    recordings = {rule["record"]: rule["expr"].strip() for rule in rules if "record" in rule}
    return {f"{WITHOUT_HOLD}/{name}": _file(source, recordings) for name, source in sources.items()}


def _file(source: Mapping[str, Any], recordings: Mapping[str, str]) -> str:
    groups = [
        {
            "name": group["name"],
            "rules": [
                rule | {"expr": without_hold(rule["expr"].strip(), recordings) + "\n"}
                for rule in group["rules"]
                if "alert" in rule
            ],
        }
        for group in source["groups"]
    ]
    return HEAD + yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Expressions as they are written by hand: line by line, with their comments; lists are indented."""

    def increase_indent(self, flow: bool = False, *_: object, **__: object) -> None:  # noqa: FBT001, FBT002  PyYAML's signature
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if text.endswith("\n") else None)


_Dumper.add_representer(str, _text)


def without_hold(expression: str, recordings: Mapping[str, str]) -> str:
    """The condition on fresh data, over scraped series only.

    Args:
        expression: of an alert; comments stay.
        recordings: the expression of each recording by its name.
    """
    text = _fresh_part(expression)
    while found := _RECORDING.search(text):
        name, matchers, _, span = found.groups()
        recorded = _fresh_part(recordings[name])
        if not name.endswith(":fresh"):
            recorded = _FRESH.sub("", recorded)  # the alert itself asks for fresh data
        if matchers:
            recorded = re.sub(r"(\{job=[^}]*)\}", rf"\1, {matchers}}}", recorded)
        line = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
        margin = line[: len(line) - len(line.lstrip())]
        if span or isinstance(promql_parser.parse(recorded), promql_parser.BinaryExpr):
            recorded = f"(\n{indent(recorded, '  ')}\n)"
        if span:
            recorded += f"[{span}:1m]"
        text = text[: found.start()] + indent(recorded, margin).lstrip() + text[found.end() :]
    return text


def _fresh_part(expression: str) -> str:
    """The expression without the operands of `or`, at any depth, that hold an alert."""
    operands = list(_operands(expression))
    fresh = [each for each in operands if not _HELD.search(each)]
    return "or".join(fresh or operands).strip()


def _operands(expression: str) -> Iterator[str]:
    """The operands of `or` outside parentheses; those inside were reduced already."""
    operand, depth, inside = "", 0, ""
    for word in _WORD.findall(expression):
        depth -= word == ")"
        if depth > 0:
            inside += word
        elif word == ")":
            operand, inside = operand + _inner(inside) + word, ""
        elif word == "or":
            yield operand
            operand = ""
        else:
            operand += word
        depth += word == "("
    yield operand


def _inner(text: str) -> str:
    """The text in parentheses, with the space around it."""
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return before + _fresh_part(text) + after
