"""The installed console script as a subprocess."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import yaml

from support.programs import Program, free_port, wait_until
from support.samples import Samples, parse_openmetrics, parse_text

SCRIPT: Final = Path(sys.executable).with_name("cyberun-exporter")
ACCEPT_OPENMETRICS: Final = "application/openmetrics-text;version=1.0.0"


class RunningExporter(Program):
    """`cyberun-exporter` on a free port, with a configuration file and credential files of its own."""

    @classmethod
    def configured(
        cls,
        directory: Path,
        config: Mapping[str, Any],
        *,
        tokens: Mapping[str, str],
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Writes the files; entering the result starts the program.

        Args:
            directory: an empty folder.
            config: the YAML document. The listen address and the `token_file` of the teams in `tokens` are added.
            tokens: credentials by team name.
            arguments: more of the command line.
            environment: more of the environment, which otherwise holds PATH alone.
        """
        port = free_port()
        path = directory / "config.yaml"
        command = [str(SCRIPT), f"--config.file={path}", *arguments]
        exporter = cls(command, directory=directory, port=port, environment=_environment(environment))
        for team, token in tokens.items():
            exporter.write_token(team, token)
        exporter.write_config(config)
        return exporter

    @property
    def config_path(self) -> Path:
        """The path of the configuration."""
        return self.directory / "config.yaml"

    def token_path(self, team: str) -> Path:
        """The path of the team's credential."""
        return self.directory / "secrets" / team

    def write_token(self, team: str, token: str) -> None:
        """Writes or replaces a credential file, readable by its owner alone, at once: it may be read at any moment."""
        path = self.token_path(team)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.touch(mode=0o600)
        new.write_text(token + "\n", encoding="utf-8")
        new.replace(path)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes or replaces the configuration, completed as `configured` says."""
        teams = [self._with_token(team) for team in config.get("teams", ())]
        web = {"listen_address": f"127.0.0.1:{self.port}", **config.get("web", {})}
        document = {**config, "teams": teams, "web": web}
        self.config_path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def _with_token(self, team: Mapping[str, Any]) -> dict[str, Any]:
        path = self.token_path(team["name"])
        return {"token_file": str(path), **team} if path.exists() else dict(team)

    async def wait_listening(self, *, within: float = 60) -> None:
        """Until the port answers, ready or not."""
        await wait_until(lambda: self.get("/-/healthy"), within=within)

    async def scrape(self, *, openmetrics: bool = False, path: str = "/metrics") -> str:
        """The body of a successful scrape."""
        headers = {"Accept": ACCEPT_OPENMETRICS} if openmetrics else {}
        answer = await self.get(path, headers=headers)
        assert answer.status == 200, f"{path}: {answer.status}"
        return answer.text

    async def json(self, path: str) -> Any:
        """A JSON document it serves, such as /api/v1/status."""
        answer = await self.get(path)
        assert answer.status == 200, f"{path}: {answer.status}"
        return json.loads(answer.text)

    async def samples(self, *, openmetrics: bool = False, path: str = "/metrics") -> Samples:
        """A scrape, parsed strictly."""
        parse = parse_openmetrics if openmetrics else parse_text
        return parse(await self.scrape(openmetrics=openmetrics, path=path))


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended."""

    code: int
    stdout: str
    stderr: str


async def run_exporter(*arguments: str, directory: Path, environment: Mapping[str, str] | None = None) -> Completed:
    """Runs one command of the exporter to its end, a minute at most.

    Raises:
        TimeoutError: it did not end; it was killed then.
    """
    process = await asyncio.create_subprocess_exec(
        str(SCRIPT),
        *arguments,
        cwd=directory,
        env=_environment(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Completed(process.returncode, stdout.decode(), stderr.decode())


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **(more or {})}
