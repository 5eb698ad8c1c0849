"""The dashboards match the type definitions of four versions of Grafana."""

import copy
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from grafana import reading

ROOT = Path(__file__).parents[2]
LOCKED = ROOT / "tools" / "grafana-schema"
INSTALLED = ROOT / ".tools" / "grafana-schema"
VERSIONS = ("10", "11", "12", "13")
DASHBOARDS = reading.load()


def unavailable(reason: str) -> None:
    """Skips with a reason; fails in CI if node is available."""
    if os.environ.get("CI") and shutil.which("node"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def compiler() -> Path:
    """The TypeScript compiler and the four versions' definitions, installed once from the lock file."""
    if not shutil.which("node") or not shutil.which("npm"):
        unavailable("node and npm are needed to check the dashboards against Grafana's own types")
    lock = (LOCKED / "package-lock.json").read_bytes()
    done = INSTALLED / "node_modules" / ".installed"
    if not done.is_file() or done.read_bytes() != lock:
        INSTALLED.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCKED / name, INSTALLED / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        result = subprocess.run(command, cwd=INSTALLED, capture_output=True, text=True, check=False, timeout=300)
        if result.returncode:
            unavailable(f"npm ci failed: {result.stderr[-500:]}")
        done.write_bytes(lock)
    return INSTALLED / "node_modules" / "typescript" / "bin" / "tsc"


# JSON has strings where the definitions have enums of strings; what a query or an annotation holds beside what all
# have in common is up to the kind of its data source.
PLAIN = """\
type Plain<T> = unknown extends T ? T
  : T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends readonly (infer U)[] ? Plain<U>[]
  : { [K in keyof T]: Plain<T[K]> }
    & (T extends { refId: string } | { iconColor: string } ? { [key: string]: unknown } : unknown);
"""


def literal(board: dict[str, Any], version: str) -> str:
    """A program that assigns the dashboard to that version's type."""
    # A threshold of -Infinity, which the definitions want, is null in JSON.
    text = json.dumps(board, indent=1).replace('"value": null', '"value": -Infinity')
    imported = f'import type {{ Dashboard }} from "grafana-schema-{version}";\n'
    return f"{imported}{PLAIN}export const dashboard: Plain<Dashboard> = {text};\n"


def checked(compiler: Path, programs: dict[str, str]) -> str:
    """The compiler's output for the programs, empty if they are correct. Cached."""
    key = hashlib.sha256(json.dumps([programs, (LOCKED / "package-lock.json").read_text()]).encode()).hexdigest()
    answer = INSTALLED / "answers" / key
    if not answer.is_file():
        answer.parent.mkdir(exist_ok=True)
        # Inside of the installation, where the compiler finds the definitions.
        with tempfile.TemporaryDirectory(dir=INSTALLED) as folder:
            answer.write_text(_compiled(compiler, programs, Path(folder)), encoding="utf-8")
    return answer.read_text(encoding="utf-8")


def _compiled(compiler: Path, programs: dict[str, str], folder: Path) -> str:
    for name, text in programs.items():
        (folder / f"{name}.ts").write_text(text, encoding="utf-8")
    options = {
        "strict": True,
        "noEmit": True,
        "skipLibCheck": True,
        "module": "esnext",
        "moduleResolution": "bundler",
        "target": "es2022",
        "types": [],
    }
    project = {"compilerOptions": options, "files": [f"{name}.ts" for name in programs]}
    (folder / "tsconfig.json").write_text(json.dumps(project), encoding="utf-8")
    command = ["node", str(compiler), "--project", str(folder), "--pretty", "false"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode in {0, 1, 2}, result
    assert not result.stderr
    return result.stdout


def test_dashboards_have_the_right_types(compiler: Path) -> None:
    """Every dashboard has the type `Dashboard` in each supported version of Grafana."""
    programs = {
        f"{uid}-{version}": literal(board, version) for uid, board in DASHBOARDS.items() for version in VERSIONS
    }
    assert checked(compiler, programs) == ""


def spoiled(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """A dashboard with one deliberate mistake."""
    board = copy.deepcopy(DASHBOARDS["cyberun-overview"])
    parent: Any = board
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return board


MISTAKES: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "a-misspelt-key": (("panels", 0, "descripton"), "?"),
    "text-for-a-number": (("panels", 0, "gridPos", "w"), "4"),
    "an-unknown-color-mode": (("panels", 0, "fieldConfig", "defaults", "color", "mode"), "rainbow"),
    "an-unknown-variable-type": (("templating", "list", 1, "type"), "quest"),
    "a-link-of-no-kind": (("links", 0, "type"), "dashboard"),
    "tags-as-text": (("tags",), "cyberun"),
}


def test_mistakes_are_noticed(compiler: Path) -> None:
    """The check notices many kinds of mistakes, with each version."""
    programs = {
        f"{name}-{version}": literal(spoiled(*mistake), version)
        for name, mistake in MISTAKES.items()
        for version in VERSIONS
    }
    answer = checked(compiler, programs)
    assert [name for name in programs if f"{name}.ts(" not in answer] == []
