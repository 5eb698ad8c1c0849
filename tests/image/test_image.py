"""The image, built from the Dockerfile by an engine and run as a container; see tools/image-test."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.container import Container, Engine
from support.programs import free_port

LIMIT = "--memory=96m"
"""What docs/kubernetes.md gives as the memory that a small exporter and its health check run in."""


@pytest.fixture(scope="module")
def simulator(engine: Engine) -> Iterator[tuple[str, str]]:
    """A simulated platform from the same image: its URL and a team's token."""
    container = engine.start("simulate", f"--web.listen-address=127.0.0.1:{(port := free_port())}", "--teams=1")
    container.get(f"http://127.0.0.1:{port}/_simulate/faults")
    url, team = container.logs.splitlines()[:2]
    yield url, team.split()[-1]
    assert container.stop() == 0


@dataclass(frozen=True, slots=True)
class Served:
    """The exporter in a container that polls the simulated platform every second."""

    container: Container
    address: str
    check: tuple[str, ...]
    """The command of the image's health check."""

    def page(self) -> str:
        """The metrics, once the team was polled."""
        self.container.get(f"http://{self.address}/-/ready")
        return self.container.get(f"http://{self.address}/metrics")

    def is_healthy(self) -> bool:
        """What the image's health check says."""
        return self.container.execute(*self.check).returncode == 0

    def stop(self) -> None:
        """It ends by itself on SIGTERM, and was not killed before."""
        assert self.container.stop() == 0, self.container.logs
        assert self.container.state["OOMKilled"] is False


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def serve(engine: Engine, simulator: tuple[str, str]) -> Serve:
    """Starts the exporter with options of the engine, and with a credential of its own or the team's token."""
    check = tuple(engine.config["Healthcheck"]["Test"][1:])

    def start(*options: str, credential: tuple[str, str] = ("TOKEN", simulator[1])) -> Served:
        address = f"127.0.0.1:{free_port()}"
        settings = dict(
            [
                ("API__BASE_URL", simulator[0]),
                ("WEB__LISTEN_ADDRESS", address),
                ("COLLECT__INTERVAL", "1s"),
                credential,
            ]
        )
        variables = [f"--env=CYBERUN_EXPORTER_{name}={value}" for name, value in settings.items()]
        return Served(engine.start(options=[*variables, *options]), address, check)

    return start


@pytest.mark.parametrize("user", ["65532:65532", "1000710000:0"])
def test_it_serves_as_any_user(serve: Serve, user: str) -> None:
    """Read-only, without capabilities, as the image's or any other user, it serves, is healthy and ends on SIGTERM."""
    served = serve(f"--user={user}")
    page = served.page()
    assert 'cyberun_up{team_name="default"} 1' in page
    assert 'revision="0123abc"' in page
    who = served.container.execute("python", "-c", "import os; print(os.getuid(), os.getgid(), sep=':')")
    assert who.stdout.strip() == user
    assert served.is_healthy()
    served.stop()


def test_it_runs_with_its_health_check_in_little_memory(serve: Serve) -> None:
    """Within the documented memory limit it polls and is scraped while its health check runs; nothing is killed."""
    served = serve(LIMIT, LIMIT.replace("--memory", "--memory-swap"))
    for _ in range(20):
        assert served.page()
        assert served.is_healthy()
    served.stop()


def test_the_health_check_is_small(serve: Serve) -> None:
    """The health check takes less than 20 MB: it loads none of the exporter's libraries."""
    served = serve()
    served.page()
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    result = served.container.execute("python", "-c", program, *served.check)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 20 * 1024
    served.stop()


def test_the_health_check_fails_where_nothing_runs(engine: Engine) -> None:
    """Where no exporter listens the health check fails, and says why."""
    result = engine.run("health", f"--web.listen-address=127.0.0.1:{free_port()}")
    assert result.returncode == 1
    assert "Connection refused" in result.stderr


def test_a_private_key_is_read_by_its_owner(serve: Serve, simulator: tuple[str, str], tmp_path: Path) -> None:
    """A container that runs as the owner of a key of mode 0600 reads it; as another user it does not start."""
    key = tmp_path / "render.key"
    key.touch(0o600)
    key.write_text(simulator[1])
    credential = ("TOKEN_FILE", "/run/secrets/render")
    mount = f"--volume={key}:/run/secrets/render:ro"
    served = serve(f"--user={os.getuid()}:{os.getgid()}", mount, credential=credential)
    assert 'cyberun_up{team_name="default"} 1' in served.page()
    served.stop()
    other = serve("--user=65532:65532", mount, credential=credential)
    assert other.container.wait() == 2
    assert "Permission denied" in other.container.logs


def test_everything_is_compiled(engine: Engine) -> None:
    """Each module of the standard library and of the exporter has bytecode, so nothing is compiled at startup."""
    program = """
import importlib.util, pathlib, sysconfig
for name in ("stdlib", "purelib"):
    folder = pathlib.Path(sysconfig.get_path(name))
    files = [each for each in folder.rglob("*.py") if "site-packages" not in each.relative_to(folder).parts]
    print(len(files), *(each for each in files if not pathlib.Path(importlib.util.cache_from_source(each)).exists()))
"""
    result = engine.run("-c", program, options=["--entrypoint=python"])
    found = [line.split() for line in result.stdout.splitlines()]
    assert len(found) == 2, result.stderr
    for count, *missing in found:
        assert int(count) > 300
        assert missing == []


def test_demo_is_reachable_in_one_line(engine: Engine) -> None:
    """`demo` with a listen address serves a fleet from a container, with no account and nothing to write to."""
    port = free_port()
    container = engine.start("demo", f"--web.listen-address=:{port}")
    container.get(f"http://127.0.0.1:{port}/-/ready")
    assert re.search(r"^cyberun_agents\{.*\} [1-9]", container.get(f"http://127.0.0.1:{port}/metrics"), re.MULTILINE)
    assert container.stop() == 0


def test_the_image_says_what_it_is(engine: Engine) -> None:
    """No label is empty; the user is a number; port, entry point and health check are there."""
    config = engine.config
    assert {"org.opencontainers.image.title", "org.opencontainers.image.licenses"} <= config["Labels"].keys()
    assert all(config["Labels"].values())
    assert config["User"] == "65532:65532"
    assert list(config["ExposedPorts"]) == ["10042/tcp"]
    assert config["Entrypoint"] == ["cyberun-exporter"]
    assert config["Healthcheck"]["Test"] == ["CMD", "cyberun-exporter", "health"]
