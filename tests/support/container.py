"""The image in a container engine: docker, or podman, whose commands are the same."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

HARDENED: Final = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    # On loopback, as the engine's own network needs rights that a build machine may not give.
    "--network=host",
    # An engine wants to raise these limits, which is forbidden inside of some sandboxes.
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=4096:4096",
)
Result = subprocess.CompletedProcess[str]


@dataclass(slots=True)
class Engine:
    """Runs containers of one image. Mutable: it remembers them, to remove them."""

    command: tuple[str, ...]
    image: str
    _started: list["Container"] = field(default_factory=list)

    def __call__(self, *arguments: str, check: bool = True) -> Result:
        """One command of the engine.

        Raises:
            AssertionError: it failed, unless that is not checked.
        """
        result = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)
        assert result.returncode == 0 or not check, f"{arguments}: {result.stderr}"
        return result

    @property
    def config(self) -> dict[str, Any]:
        """The image's configuration. Podman shows the health check next to it, docker inside it."""
        (found,) = json.loads(self("image", "inspect", self.image).stdout)
        return {"Healthcheck": found.get("Healthcheck"), **found["Config"]}

    def run(self, *command: str, options: Sequence[str] = ()) -> Result:
        """A container that ends by itself."""
        return self("run", "--rm", *HARDENED, *options, self.image, *command, check=False)

    def start(self, *command: str, options: Sequence[str] = ()) -> "Container":
        """A container that runs until it is stopped. The engine's own health checks are disabled, as tests run them."""
        arguments = ("run", "--detach", "--no-healthcheck", *HARDENED, *options, self.image, *command)
        container = Container(self, self(*arguments).stdout.strip())
        self._started.append(container)
        return container

    def remove_all(self) -> None:
        """Remove every container that was started."""
        for container in self._started:
            self("rm", "--force", container.identity, check=False)


@dataclass(frozen=True, slots=True)
class Container:
    """One started container."""

    engine: Engine
    identity: str

    @property
    def state(self) -> dict[str, Any]:
        """Whether it runs, and how it ended."""
        (found,) = json.loads(self.engine("inspect", self.identity).stdout)
        return dict(found["State"])

    @property
    def logs(self) -> str:
        """All it wrote so far, on either stream."""
        result = self.engine("logs", self.identity)
        return result.stdout + result.stderr

    def execute(self, *command: str) -> Result:
        """One command inside, as the container's user."""
        return self.engine("exec", self.identity, *command, check=False)

    def get(self, url: str, *, within: float = 60) -> str:
        """The page at a URL, as soon as it answers 200.

        Raises:
            AssertionError: the container ended, or gave no such answer in time.
        """
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  the test's own http URL
                    return str(answer.read().decode())
            except (urllib.error.URLError, ConnectionError):
                assert self.state["Running"], self.logs
                time.sleep(0.2)
        raise AssertionError(f"{url} gave no page in {within} s: {self.logs}")

    def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        return int(self.engine("wait", self.identity).stdout)

    def stop(self) -> int:
        """Its exit code after SIGTERM; it has ten seconds to end."""
        self.engine("stop", "-t", "10", self.identity)
        return int(self.state["ExitCode"])
