"""The names of a team's workflows: optional, and read rarely, one page at a time."""

from collections.abc import Mapping
from itertools import islice
from typing import Final

from exporter.catalog import Operation
from exporter.collect.context import TeamContext
from exporter.errors import NOT_OFFERED, PlatformError
from exporter.fleet.text import optional_label
from exporter.fleet.workflows import WorkflowName
from exporter.platform import wire

INTERVAL: Final = 300.0
"""Seconds between two requests, each for the next page of the list."""
MAX_NAMES: Final = 1000
"""Maximum number of names remembered per team; those read longest ago are forgotten first."""


class WorkflowNames:
    """Reads the names of one team's workflows. Mutable: it keeps the names and the next page to read.

    Attributes:
        names: by workflow id.
    """

    names: Mapping[str, WorkflowName]

    def __init__(self, team: TeamContext) -> None:
        self.names = {}
        self._team = team
        self._page = 1
        self._due_at = team.clock.monotonic()

    @property
    def due(self) -> bool:
        """Whether workflows are shown, and it is time to read a page."""
        return self._team.rules.workflows > 0 and self._team.hold.over and self._team.clock.monotonic() >= self._due_at

    async def poll(self) -> None:
        """Read a page. Raises nothing: workflows without a known name are shown by their id."""
        self._due_at = self._team.clock.monotonic() + INTERVAL
        try:
            page = await self._team.client.workflows(self._page, expected=NOT_OFFERED)
        except PlatformError as error:
            self._due_at = self._team.clock.monotonic() + max(INTERVAL, error.retry_after or 0.0)
        except Exception as error:  # noqa: BLE001  nothing optional may end other polls; it is logged and counted
            self._team.internal_error(Operation.WORKFLOWS, error)
        else:
            self._learn(page)
            self._page = page.number + 1 if page.number < page.last else 1

    def _learn(self, page: wire.Page[wire.Workflow]) -> None:
        names = dict(self.names)
        for item in page.items:
            if item is not None and (workflow_id := optional_label(item.id or item.workflow_id)):
                names.pop(workflow_id, None)
                names[workflow_id] = WorkflowName(
                    slug=optional_label(item.workflow_slug), display_name=optional_label(item.display_name)
                )
        self.names = dict(islice(names.items(), max(0, len(names) - MAX_NAMES), None))
