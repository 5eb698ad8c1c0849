import logging
from types import SimpleNamespace
from typing import Any

import pytest

from exporter import log
from exporter.catalog import Operation
from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.errors import ConfigError
from exporter.expose.counters import ApiCounters
from exporter.service.reload import Reloader


def settings(**sections: Any) -> Settings:
    return load(None, {}, {"teams": [{"name": "render", "token_env": "T"}], **sections})


class Rig:
    """A reloader with a fake service and web file. Mutable: tests set failures, and what is applied is recorded."""

    def __init__(self) -> None:
        self.settings = settings()
        self.wrong: set[str] = set()
        self.error: Exception | None = None
        """Raised instead of a ConfigError."""
        self.applied: list[str] = []
        self.noted: list[bool] = []
        self.counters = ApiCounters()
        self.written = False
        assembly = SimpleNamespace(own_settings=self.settings)
        service: Any = SimpleNamespace(
            apply=self.apply_settings, exporter=self, assembly=assembly, counters=self.counters
        )
        access: Any = SimpleNamespace(apply=self.apply_rules, read=self.read, changed=self.changed)
        self.reloader = Reloader(service, self.settings, self._load, access)

    def _load(self) -> Settings:
        self._check("settings")
        return self.settings

    def _check(self, part: str) -> None:
        if part in self.wrong:
            raise self.error or ConfigError([f"{part}: wrong"])

    # What the service does

    async def apply_settings(self, settings: Settings) -> None:
        self._check("credential")
        assert settings is self.settings
        self.applied.append("settings")

    def note_reload(self, *, ok: bool) -> None:
        self.noted.append(ok)

    # What the web side does

    async def read(self) -> str:
        self._check("web")
        return "rules"

    def apply_rules(self, rules: str) -> None:
        assert rules == "rules"
        self.applied.append("web")

    def changed(self) -> bool:
        self._check("look")
        return self.written


async def test_both_files_take_effect() -> None:
    """A reload reads the settings and the web configuration, and the metric shows success."""
    rig = Rig()
    assert await rig.reloader.reload() == ()
    assert (rig.applied, rig.noted) == (["settings", "web"], [True])


@pytest.mark.parametrize("part", ["settings", "web", "credential"])
async def test_a_mistake_anywhere_changes_nothing(part: str, caplog: pytest.LogCaptureFixture) -> None:
    """With a mistake nothing is applied; each mistake is a line, for the caller and in the log."""
    rig = Rig()
    rig.wrong = {part}
    assert await rig.reloader.reload() == (f"{part}: wrong",)
    assert (rig.applied, rig.noted) == ([], [False])
    assert [record.__dict__["fields"] for record in caplog.records] == [{"mistake": f"{part}: wrong"}]
    rig.wrong = set()
    await rig.reloader.reload()
    assert rig.noted == [False, True]


async def test_a_web_file_that_was_written_is_read() -> None:
    """A changed web configuration is applied without the settings; an unchanged one is not read."""
    rig = Rig()
    await rig.reloader.renew()
    assert (rig.applied, rig.noted) == ([], [])
    rig.written = True
    await rig.reloader.renew()
    assert (rig.applied, rig.noted) == (["web"], [True])


async def test_a_web_file_does_not_hide_mistakes_in_the_settings() -> None:
    """A failed reload stays visible until a reload succeeds, even if the web configuration is renewed meanwhile."""
    rig = Rig()
    rig.written = True
    rig.wrong = {"settings"}
    await rig.reloader.reload()
    await rig.reloader.renew()
    rig.wrong = {"web"}
    await rig.reloader.renew()
    rig.wrong = set()
    await rig.reloader.renew()
    assert rig.noted == [False, False, False, False]
    await rig.reloader.reload()
    assert rig.noted[-1]


async def test_a_broken_web_file_is_noted_until_it_can_be_used() -> None:
    """A corrected web configuration takes effect, and the metric shows success again."""
    rig = Rig()
    rig.written = True
    rig.wrong = {"web"}
    await rig.reloader.renew()
    assert (rig.applied, rig.noted) == ([], [False])
    rig.wrong = set()
    await rig.reloader.renew()
    assert (rig.applied, rig.noted) == (["web"], [False, True])


async def test_what_needs_a_restart_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Changes of the web section, which need a restart, cause a warning."""
    monkeypatch.setattr(log, "configure", lambda *_: None)  # it would take the log away from here
    caplog.set_level(logging.WARNING)
    rig = Rig()
    await rig.reloader.reload()
    assert caplog.messages == []
    rig.settings = settings(web={"telemetry_path": "/m"})
    await rig.reloader.reload()
    assert caplog.messages == ["changes to the web section need a restart"]


@pytest.mark.parametrize("part", ["settings", "web", "credential"])
async def test_an_error_of_ours_ends_nothing(part: str, caplog: pytest.LogCaptureFixture) -> None:
    """Any error while files are read changes nothing; it is counted, and logged with its traceback."""
    rig = Rig()
    rig.wrong, rig.error = {part}, TypeError("cadata should be an ASCII string")
    assert await rig.reloader.reload() == ("an internal error, see the log: TypeError",)
    assert (rig.applied, rig.noted) == ([], [False])
    assert [record.exc_info for record in caplog.records if record.exc_info]
    assert rig.counters.internal_errors[Operation.RELOAD] == 1


async def test_looking_at_the_web_configuration_ends_nothing() -> None:
    """Without a thread the check is made the next time; an error while the file is read is recorded."""
    rig = Rig()
    rig.written = True
    rig.wrong, rig.error = {"look"}, RuntimeError("can't start new thread")
    await rig.reloader.renew()
    assert (rig.applied, rig.noted) == ([], [])
    rig.wrong = {"web"}
    await rig.reloader.renew()
    assert (rig.applied, rig.noted) == ([], [False])
    rig.wrong = set()
    await rig.reloader.renew()
    assert (rig.applied, rig.noted) == (["web"], [False, True])
