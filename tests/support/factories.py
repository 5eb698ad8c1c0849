"""The types of the fixtures that start programs; tests/integration/conftest.py makes them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from support.exporter import Completed, RunningExporter
from support.prometheus import RunningAlertmanager, RunningPrometheus


class ExporterFactory(Protocol):
    """The fixture `exporter_factory`."""

    async def __call__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        tokens: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> RunningExporter:
        """Starts an exporter; await its `wait_ready` or `wait_listening` next.

        Args:
            config: sections of the YAML document, over the defaults: the platform's address, and its teams that
                have a key.
            tokens: credentials by team name; the platform's own if None.
            arguments: more of the command line.
            environment: more of the environment.
        """


class CommandFactory(Protocol):
    """The fixture `run_command`."""

    async def __call__(
        self,
        command: str,
        config: Mapping[str, Any] | None = None,
        *,
        tokens: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        """Runs a command that reads a configuration to its end; the arguments are those of `ExporterFactory`."""


class PrometheusFactory(Protocol):
    """The fixture `prometheus`."""

    async def __call__(self, config: Mapping[str, Any]) -> RunningPrometheus:
        """Starts a Prometheus with this configuration and waits until it is ready."""


class AlertmanagerFactory(Protocol):
    """The fixture `alertmanager`."""

    async def __call__(self, config: Mapping[str, Any]) -> RunningAlertmanager:
        """Starts an Alertmanager with this configuration and waits until it is ready."""
