import re
from pathlib import Path

import pytest

from exporter.demo import KINDS
from exporter.demo.hostile import VARIETIES

PAGE = Path(__file__).parents[3] / "docs" / "simulator.md"


def rows(heading: str) -> list[str]:
    """The first column of the table whose header is this row."""
    text = PAGE.read_text()
    table = text[text.index(heading) :].split("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize(
    ("heading", "expected"),
    [("| kind | value | what happens |", list(KINDS)), ("| value | items |", list(VARIETIES))],
)
def test_every_fault_is_documented(heading: str, expected: list[str]) -> None:
    """The page lists exactly the existing kinds of faults and of hostile items."""
    assert sorted(rows(heading)) == sorted(expected)
