import re
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
INSTALLERS = ["Makefile", "Dockerfile", ".github/workflows", "tools", ".ci"]


def commands() -> list[tuple[str, str]]:
    """Each command of pip or uv that installs, in all files that build, test or release, after its file's name."""
    listed = subprocess.run(["git", "ls-files", *INSTALLERS], cwd=ROOT, check=True, capture_output=True, text=True)
    found = []
    for name in listed.stdout.split():
        text = re.sub(r"\\\n\s*", "", (ROOT / name).read_text(encoding="utf-8"))
        for variable, value in reversed(re.findall(r"^(PIP|LOCKED) := (.*)$", text, re.MULTILINE)):
            text = re.sub(rf"^{variable} := .*", "", text, flags=re.MULTILINE).replace(f"$({variable})", value)
        lines = [line.strip() for line in re.split(r"\n|&&|;", text)]
        found += [(name, line) for line in lines if re.search(r"\b(pip|uv)\b.* install\b", line)]
    return found


def test_every_install_takes_a_lock_and_nothing_else() -> None:
    """Whatever an index offers, an install uses the hashed wheels of a lock file or the wheel built here."""
    found = commands()
    assert {name for name, _ in found} == {"Makefile", "Dockerfile", ".github/workflows/release.yml"}
    for name, line in found:
        assert "--no-deps" in line, f"{name}: {line}"
        locked = "--require-hashes" in line and re.search(r"-r requirements/\w+\.txt", line)
        assert locked or ("--no-index" in line and line.endswith("dist/*.whl")), f"{name}: {line}"
        if locked and name != "Dockerfile":  # there it is a variable of the whole stage
            assert "--only-binary=:all:" in line or "--no-build" in line, f"{name}: {line}"


def test_a_person_installs_from_the_index_or_from_a_lock() -> None:
    """On docs/linux.md too nothing is built by what an index offers today: a source folder is no argument of pip."""
    page = (ROOT / "docs/linux.md").read_text(encoding="utf-8")
    lines = re.findall(r"^[^`\n]*\b(?:pip|pipx|uv tool) (?:install|download|wheel) [^`\n]*$", page, re.MULTILINE)
    assert len(lines) > 7
    for line in lines:
        locked = "--require-hashes --no-deps" in line and re.search(r"-r \w+/\w+\.txt", line)
        assert not locked or "--only-binary=:all:" in line or "--no-index" in line, line
        built_here = "--no-index --no-deps" in line and line.endswith("/cyberun_exporter-*.whl")
        assert locked or built_here or line.endswith("install cyberun-exporter"), line


def test_the_supported_pythons_are_listed_alike() -> None:
    """Metadata, tools/make-venv, the type checker, CI and the documents name the same versions of Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = re.findall(r"Python :: (3\.\d+)", str(project["project"]["classifiers"]))
    assert all(int(b[2:]) == int(a[2:]) + 1 for a, b in pairwise(found)), "in order, without a gap"
    assert project["project"]["requires-python"] == f">={found[0]}"
    assert project["tool"]["ruff"]["target-version"] == f"py{found[0].replace('.', '')}"
    listed = subprocess.run([ROOT / "tools/make-venv", "--supported"], check=True, capture_output=True, text=True)
    assert listed.stdout.split() == found[::-1]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == found
    page = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| Python \| ([\d., ]+) \|", page, re.MULTILINE)
    assert row.split(", ") == found
    assert f"Python {found[0]} to {found[-1]}." in (ROOT / "README.md").read_text(encoding="utf-8")
