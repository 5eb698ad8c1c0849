"""What the repository says about itself is true."""

import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import exporter

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pinned(lock: Path) -> dict[str, str]:
    """The pinned versions of a lock file by normalised name."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def distribution(requirement: str) -> str:
    """The name in a requirement: `a-b` of `a-b[extra]>=1,<2`."""
    match = re.match(r"[A-Za-z0-9-]+", requirement)
    assert match, requirement
    return match[0].lower()


def test_the_installed_wheel_is_what_is_tested() -> None:
    """The package under test lies in site-packages; `make test` puts it there."""
    assert Path(exporter.__file__).is_relative_to(sysconfig.get_path("purelib"))


def test_generated_files_are_up_to_date() -> None:
    """Generated files are what the generator would write now."""
    command = [sys.executable, str(ROOT / "tools" / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_one_version() -> None:
    """The project's version is the topmost of the changelog and that of the installed package."""
    newest = re.search(r"^## \[(.+?)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest[1] == PROJECT["version"] == version("cyberun-exporter")


@pytest.mark.parametrize("target", ["demo", "test"])
def test_commands_of_the_readme_exist(target: str) -> None:
    """The README shows the two commands on its first screen, and the Makefile has them."""
    assert f"make {target}" in "\n".join(read("README.md").splitlines()[:40])
    assert re.search(rf"^{target}:.* ## ", read("Makefile"), re.MULTILINE)


def test_ci_runs_what_developers_run() -> None:
    """CI runs nothing but `make test`."""
    assert re.search(r"^make test$", read(".ci/run"), re.MULTILINE)
    assert "run: make test" in read(".github/workflows/ci.yml")


def test_every_room_has_a_floor_of_coverage() -> None:
    """`make coverage` has a minimum for each folder of the package, and a workflow runs it."""
    floors = dict(re.findall(r"(\w+):(\d+)", re.findall(r"^FLOORS := (.+)$", read("Makefile"), re.MULTILINE)[0]))
    assert set(floors) == {path.parent.name for path in (ROOT / "exporter").glob("*/__init__.py")}
    assert all(int(least) >= 90 for least in floors.values())
    assert "run: make coverage" in read(".github/workflows/ci.yml")


def test_locks_pin_what_the_project_needs() -> None:
    """Every runtime dependency is pinned, and all lock files pin the same versions."""
    runtime, dev = pinned(ROOT / "requirements/runtime.txt"), pinned(ROOT / "requirements/dev.txt")
    assert {distribution(each) for each in PROJECT["dependencies"]} <= set(runtime)
    assert runtime.items() <= dev.items()
    assert pinned(ROOT / "requirements/build.txt").items() <= dev.items()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_are_hashed_and_name_no_index(lock: Path) -> None:
    """Every pin has hashes, and lock files do not say where packages come from."""
    text = lock.read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z0-9-]+==\S+.*\\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(pins) == len(pinned(lock)) > 0
    assert not re.search(r"--(extra-)?index|--find-links|://", text)


def test_every_dependency_has_its_reason() -> None:
    """docs/decisions/dependencies.md has a section for every runtime dependency, and for no other."""
    sections = re.findall(r"^## `(.+)`", read("docs/decisions/dependencies.md"), re.MULTILINE)
    assert sorted(map(distribution, sections)) == sorted(map(distribution, PROJECT["dependencies"]))


def test_no_file_points_outside() -> None:
    """Nothing outside the repository is referred to, except that .ci/run may check whether it exists."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    paths = (ROOT / name for name in files if name and (ROOT / name).is_file())
    assert [path for path in paths if re.search(rb"\.\./shared", path.read_bytes())] == [ROOT / ".ci/run"]
