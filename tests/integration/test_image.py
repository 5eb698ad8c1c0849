"""The image's steps, done without a container engine, give a program that any user may run without writing files."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from exporter.demo import SimulatedPlatform
from support.dockerfile import ROOT, Replay, stages
from support.programs import Program, free_port

_, BUILD, FINAL = stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
(UID, GID) = next(step.rest for step in FINAL if step.name == "USER").split(":")
HOME = "/opt/cyberun-exporter"


def as_nobody(command: Sequence[str]) -> list[str]:
    """The command as the image's user, without capabilities; as the current user if that is not root."""
    if os.geteuid() != 0:
        return [*command]
    rights = ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    return ["setpriv", f"--reuid={UID}", f"--regid={GID}", *rights, *command]


def public_python() -> str:
    """A Python that every user of this machine may run, as the image's is; skips the test, or fails it in CI."""
    for python in (sys._base_executable, shutil.which("python3", path="/usr/local/bin:/usr/bin") or ""):  # type: ignore[attr-defined]  # it is there since 3.7
        program = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
        # Through a shell, as whether a file may be executed is what is asked.
        command = as_nobody(["sh", "-c", f"exec '{python}' -c '{program}'"])
        if python and subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0:
            return str(python)
    reason = "no Python 3.11 or newer on this machine that users other than root may run"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def image() -> Iterator[Replay]:
    """The build stage, carried out; and what the last stage copies and sets."""
    # Pytest's own folders are closed to other users.
    root = Path(tempfile.mkdtemp(prefix="cyberun-exporter-image-"))
    root.chmod(0o755)
    try:
        replay = Replay.prepared(root, public_python())
        replay.carry_out(BUILD)
        environment = [word.split("=", 1) for step in FINAL if step.name == "ENV" for word in step.words]
        replay.environment = {
            name: value.replace(HOME, f"{root}{HOME}")
            .replace("$PATH", os.environ["PATH"])
            .replace("${REVISION}", "abc")
            for name, value in environment
        }
        yield replay
    finally:
        shutil.rmtree(root)


def _environment(given: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The environment variables that the last stage sets, with the given texts replaced."""
    for word in (word for step in FINAL if step.name == "ENV" for word in step.words):
        name, value = word.split("=", 1)
        for old, new in given.items():
            value = value.replace(old, new)
        yield name, value


def instruction(name: str) -> list[str]:
    """The command of an instruction in its list form."""
    (step,) = (step for step in FINAL if step.name == name)
    found: list[str] = json.loads(step.rest[step.rest.index("[") :])
    return found


def run(image: Replay, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in the image: with its user and only its environment, in a folder that it cannot write to."""
    return subprocess.run(
        as_nobody(["env", *command]), cwd="/", env=image.environment, capture_output=True, text=True, check=False
    )


def test_the_image_copies_what_was_built() -> None:
    """The last stage copies one folder from the build to the same path, because its scripts contain that path."""
    assert [step.words for step in FINAL if step.name == "COPY"] == [["--from=build", HOME, HOME]]


def test_nobody_can_run_it(image: Replay) -> None:
    """The entry point runs as the image's user, and is the wheel built from this source."""
    result = run(image, *instruction("ENTRYPOINT"), "--version")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("cyberun-exporter ")
    where = run(image, "python", "-c", "import exporter, sys; print(exporter.__file__, sys.flags.dont_write_bytecode)")
    path, flag = where.stdout.split()
    assert Path(path).is_relative_to(image.place(HOME))
    assert flag == "1"


def test_everybody_may_read_it_and_nobody_write(image: Replay) -> None:
    """Every user may read the files, and only root may change them; there is no installer."""
    files = [path for path in image.place(HOME).rglob("*") if not path.is_symlink()]
    assert len(files) > 500
    for path in files:
        mode = path.stat().st_mode
        assert mode & stat.S_IROTH, path
        assert not mode & (stat.S_IWGRP | stat.S_IWOTH), path
    names = {path.name for path in (image.place(HOME) / "bin").iterdir()}
    assert "cyberun-exporter" in names
    assert not [name for name in names if name.startswith("pip")]


def test_only_what_is_locked_is_installed(image: Replay) -> None:
    """The image contains exactly the distributions of requirements/runtime.txt and the exporter."""
    code = "from importlib.metadata import distributions as d; print(*sorted({x.name.lower() for x in d()}))"
    installed = run(image, "python", "-c", code).stdout.replace("_", "-").split()
    lines = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").splitlines()
    locked = [line.split("==")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))]
    unneeded = {"colorama", "tzdata"}  # for other systems
    assert {*locked, "cyberun-exporter"} - unneeded == set(installed)


async def test_it_serves_and_is_healthy(
    image: Replay, platform: SimulatedPlatform, base_url: str, tmp_path: Path
) -> None:
    """Configured only by the environment, it serves, shows its revision, passes its health check and stops at once."""
    team = platform.add_team("render", kind="integration")
    port = free_port()
    image.environment |= {
        "CYBERUN_EXPORTER_API__BASE_URL": base_url,
        "CYBERUN_EXPORTER_WEB__LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "CYBERUN_EXPORTER_TOKEN": team.token,
    }
    # `env -C` is how a command gets a folder it cannot write to, while its log goes to one of ours.
    command = as_nobody(["env", "-C", "/", *instruction("ENTRYPOINT")])
    async with Program(command, directory=tmp_path, port=port, environment=image.environment) as program:
        await program.wait_ready()
        page = (await program.get("/metrics")).text
        assert 'revision="abc"' in page
        assert 'cyberun_up{team_name="default"} 1' in page
        assert run(image, *instruction("HEALTHCHECK")).returncode == 0
        assert await program.stop() == 0
    assert run(image, *instruction("HEALTHCHECK")).returncode == 1
