"""Which room may import which, and which third parties each may use."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "exporter"

# A room imports only from rooms above its own line. Rooms on one line do not know each other.
LAYERS = (
    {"errors", "redact", "status"},
    {"catalog", "log"},
    {"config"},
    {"platform"},
    {"fleet"},
    {"expose"},
    {"collect"},
    {"web"},
    {"service"},
    {"cli"},
    {"__main__"},
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
ALONE = "demo"
# Only these rooms may import these distributions; no other third party may be imported at all.
FENCES = {
    "aiohttp": {"platform", "web", "demo"},
    "yarl": {"platform", "web", "demo"},
    "multidict": {"platform", "web", "demo"},
    "pydantic": {"config", "platform"},
    "pydantic_core": {"config", "platform"},
    "yaml": {"config"},
    "prometheus_client": {"expose"},
    "isal": {"expose"},
    "bcrypt": {"web"},
}
# What the map calls them; those that come with another are not named beside it.
NAMES = {
    "yarl": "aiohttp",
    "multidict": "aiohttp",
    "pydantic_core": "pydantic",
    "yaml": "PyYAML",
    "prometheus_client": "prometheus-client",
}

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
every_module = pytest.mark.parametrize("module", MODULES, ids=str)


def room_of(module: Path) -> str:
    """The first name below `exporter`; empty for the package's own `__init__`."""
    room = module.parts[0].removesuffix(".py")
    return "" if room == "__init__" else room


def imported(module: Path) -> Iterator[str]:
    """Every module that is imported, wherever in the file: a.b.c for `import a.b.c` and `from a.b import c`."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(module: Path) -> set[str]:
    """The rooms of this package that it imports, except its own."""
    names = (name.split(".") for name in imported(module))
    return {parts[1] for parts in names if parts[0] == "exporter" and parts[1:]} - {room_of(module), "__version__"}


@every_module
def test_imports_go_one_way(module: Path) -> None:
    """A module imports only from rooms before its own; the simulated platform imports none of the others."""
    room = room_of(module)
    if room in {"", ALONE}:
        assert not rooms_imported(module)
        return
    before = {each for each, rank in RANK.items() if rank < RANK[room]}
    assert rooms_imported(module) <= before | ({ALONE} if room == "cli" else set())


@every_module
def test_third_parties_stay_behind_their_fences(module: Path) -> None:
    """Every third party is imported only where it belongs."""
    roots = {name.split(".")[0] for name in imported(module)}
    for name in roots - set(sys.stdlib_module_names) - {"exporter"}:
        assert room_of(module) in FENCES.get(name, set()), f"{name} has no place in {module}"


def test_every_room_has_its_place() -> None:
    """The layers list exactly the rooms that exist."""
    rooms = {room_of(module) for module in MODULES} - {""}
    assert rooms == set(RANK) | {ALONE}


def test_the_map_shows_the_rooms_in_order() -> None:
    """The table of CONTRIBUTING lists every room, each below what it may import, and the simulated platform last."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| `exporter/(\w+)", text, re.MULTILINE)
    assert sorted(rooms) == sorted({*RANK, ALONE} - {"__main__"})
    assert rooms == sorted(rooms, key=lambda room: RANK.get(room, len(LAYERS)))


def test_the_map_shows_the_fences() -> None:
    """The table in CONTRIBUTING says which third parties each room may import."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `exporter/(\w+)[./`].*\| (.+) \|$", text, re.MULTILINE)
    allowed = {room: {NAMES.get(name, name) for name, rooms in FENCES.items() if room in rooms} for room, _ in rows}
    assert {room: set(third.split(", ")) - {"none"} for room, third in rows} == allowed


@pytest.mark.parametrize("module", [m for m in MODULES if m.name != "catalog.py"], ids=str)
def test_metrics_are_named_in_the_catalogue_alone(module: Path) -> None:
    """No string in another module contains a metric's name, not even a docstring, because it would go stale."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    strings = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    assert [text for text in strings if re.search(r"cyberun_[a-z]", text)] == []
