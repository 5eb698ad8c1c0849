"""The chart's container on this machine: its volumes as files, its command as Kubernetes would run it."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from support.chart import Object, Release

DIRECTORY: Final = "/etc/cyberun-exporter"
TOKEN: Final = b"sk-a-key-of-the-user-s"
"""What a Secret of the user's holds where a test does not say."""


class Pod:
    """The exporter's container in a folder in place of `/`."""

    def __init__(self, release: Release, root: Path, given: Mapping[str, bytes] | None = None, index: int = 0) -> None:
        """Lay the volumes out.

        Args:
            release: what the chart renders.
            root: an empty folder.
            given: what the user's own Secrets, ConfigMaps and volumes hold, by `name/key`.
            index: the pod's ordinal.
        """
        self._release = release
        self._root = root
        self._given = given or {}
        self._index = index
        volumes = {each["name"]: each for each in release.workload["spec"]["template"]["spec"]["volumes"]}
        for mount in release.container["volumeMounts"]:
            for path, content in self._files(volumes[mount["name"]]):
                file = self._place(f"{mount['mountPath']}/{path}")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch(0o600)
                file.write_bytes(content)

    @property
    def arguments(self) -> list[str]:
        """The container's arguments, with its variables filled in."""
        filled = (each.replace("$(POD_INDEX)", str(self._index)) for each in self._release.container["args"])
        return [self._moved(each) for each in filled]

    @property
    def environment(self) -> dict[str, str]:
        """The container's variables. Those that come from elsewhere hold a token, as no test needs another."""
        sources = self._release.container.get("env", ())
        return {each["name"]: TOKEN.decode() if "secretKeyRef" in str(each) else str(self._index) for each in sources}

    def _place(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _moved(self, text: str) -> str:
        """A text in which the container's paths are replaced by those on this machine."""
        for path in (f"{DIRECTORY}/", "/vault/"):
            text = text.replace(path, f"{self._place(path)}/")
        return text

    def _files(self, volume: Object) -> Iterator[tuple[str, bytes]]:
        """Path and content of a volume's files."""
        if "configMap" in volume:
            yield from self._keys("ConfigMap", volume["configMap"]["name"], volume["configMap"])
        elif "secret" in volume:
            yield from self._keys("Secret", volume["secret"]["secretName"], volume["secret"])
        elif "projected" in volume:
            for source in volume["projected"]["sources"]:
                yield from self._keys("Secret", source["secret"]["name"], source["secret"])
        else:
            yield from self._user(volume["name"])

    def _keys(self, kind: str, name: str, source: Object) -> Iterator[tuple[str, bytes]]:
        wanted = {item["key"]: item["path"] for item in source.get("items", ())}
        made = [each for each in self._release.all(kind) if each["metadata"]["name"] == name]
        held = _data(made[0]) if made else dict.fromkeys(wanted, TOKEN) | dict(self._user(name))
        for key, content in held.items():
            if key in wanted or not wanted:
                yield wanted.get(key, key), self._moved(content.decode()).encode()

    def _user(self, name: str) -> Iterator[tuple[str, bytes]]:
        for path, content in self._given.items():
            owner, _, key = path.partition("/")
            if owner == name:
                yield key, content


def _data(made: Object) -> dict[str, bytes]:
    """What a ConfigMap or Secret of the chart holds."""
    if made["kind"] == "Secret":
        return {key: base64.b64decode(text) for key, text in made["data"].items()}
    return {key: text.encode() for key, text in made["data"].items()}
