"""Real Prometheus and Alertmanager servers on loopback."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import yaml

from support.programs import Program, free_port, required


@dataclass(frozen=True, slots=True)
class Series:
    """One element of an instant vector."""

    labels: Mapping[str, str]
    value: float


SERVER: Final = os.environ.get("TEST_SERVER", "prometheus")
"""What scrapes and answers queries: `prometheus`, or `victoria-metrics`, which reads the same scrape configuration."""


def _flags(server: str, config: Path, data: Path, address: str) -> list[str]:
    if server == "prometheus":
        return [f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={address}"]
    return [
        f"-promscrape.config={config}",
        f"-storageDataPath={data}",
        f"-httpListenAddr={address}",
        # As soon as it is scraped it can be asked for, as with Prometheus.
        "-search.latencyOffset=0s",
        "-search.disableCache",
        "-inmemoryDataFlushInterval=1s",
    ]


class RunningPrometheus(Program):
    """`prometheus` on a free port, with its data in the test's folder; or a server with the same API."""

    @classmethod
    def configured(
        cls, directory: Path, config: Mapping[str, Any], *, server: str = SERVER, program: Path | None = None
    ) -> Self:
        """Writes prometheus.yml, given as a mapping; entering the result starts the program.

        Args:
            directory: for its configuration, data and log.
            config: as in prometheus.yml.
            server: which flags the program takes, those of `prometheus` or of `victoria-metrics`.
            program: where it is, if not on PATH under that name.
        """
        port = free_port()
        path = directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        flags = _flags(server, path, directory / "data", f"127.0.0.1:{port}")
        command = [str(program or required(server)), *flags]
        return cls(command, directory=directory, port=port, environment={"PATH": os.environ["PATH"]})

    async def api(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of /api/v1, which must be a success."""
        answer = await self.get(f"/api/v1/{path}?{urlencode(parameters)}")
        document = json.loads(answer.text)
        assert document["status"] == "success", document
        return document["data"]

    async def query(self, expression: str) -> list[Series]:
        """An instant query that gives a vector."""
        data = await self.api("query", query=expression)
        assert data["resultType"] == "vector", data["resultType"]
        return [Series(each["metric"], float(each["value"][1])) for each in data["result"]]

    async def targets(self) -> list[dict[str, Any]]:
        """The active targets: labels, health, lastError and so on, as the API gives them."""
        data = await self.api("targets", state="active")
        targets: list[dict[str, Any]] = data["activeTargets"]
        return targets


class RunningAlertmanager(Program):
    """`alertmanager` on a free port, alone in its cluster."""

    @classmethod
    def configured(cls, directory: Path, config: Mapping[str, Any]) -> Self:
        """Writes alertmanager.yml, given as a mapping; entering the result starts the program."""
        port = free_port()
        path = directory / "alertmanager.yml"
        path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        command = [
            required("alertmanager"),
            f"--config.file={path}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        return cls(command, directory=directory, port=port, environment={"PATH": os.environ["PATH"]})

    async def alerts(self) -> list[dict[str, Any]]:
        """Every alert it holds, as its API gives them."""
        answer = await self.get("/api/v2/alerts")
        assert answer.status == 200, answer.text
        alerts: list[dict[str, Any]] = json.loads(answer.text)
        return alerts
