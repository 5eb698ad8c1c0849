"""The Dockerfile as data, and its build steps replayed without a container engine."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its name in capitals and the rest, continued lines joined."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as a shell would split it."""
        return shlex.split(self.rest)


def stages(text: str) -> list[list[Step]]:
    """The stages of a Dockerfile; the first has the instructions before the first FROM."""
    found: list[list[Step]] = [[]]
    for step in _steps(text):
        if step.name == "FROM":
            found.append([])
        found[-1].append(step)
    return found


def _steps(text: str) -> Iterator[Step]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = line.partition(" ")
        yield Step(name.upper(), rest.strip())


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether a .dockerignore leaves a file of the repository out; the patterns this project uses are understood."""
    out = False
    for pattern in patterns:
        keep, name = pattern.startswith("!"), pattern.lstrip("!").rstrip("/")
        expression = re.escape(name).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.match(f"{expression}(/|$)", path):
            out = not keep
    return out


@dataclass(slots=True)
class Replay:
    """A stage that is carried out in a folder in place of `/`. Mutable: it collects what the steps set.

    COPY takes what .dockerignore lets through; RUN is done by this machine's shell, where `python` is a Python that
    everybody may run and `pip` that of the tests.
    """

    root: Path
    python: str
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"

    @classmethod
    def prepared(cls, root: Path, python: str) -> Self:
        """A replay whose tools are in place."""
        tools = root / "tools"
        tools.mkdir()
        for name, command in {"python": python, "pip": f"{sys.executable} -m pip"}.items():
            (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
            (tools / name).chmod(0o755)
        return cls(root, python, {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"})

    def place(self, path: str) -> Path:
        """The place of a path of the image on this machine."""
        return self.root / Path(self.directory, path).relative_to("/")

    def carry_out(self, steps: list[Step]) -> None:
        """Do the steps of a stage.

        Raises:
            NotImplementedError: a step is of a kind that no stage had so far.
            CalledProcessError: a RUN fails.
        """
        for step in steps:
            match step.name:
                case "FROM":
                    pass
                case "ENV":
                    self.environment |= dict(word.split("=", 1) for word in step.words)
                case "WORKDIR":
                    self.directory = step.rest
                    self.place(".").mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(step.words)
                case "RUN":
                    self._run(step.rest)
                case _:
                    raise NotImplementedError(step.name)

    def _copy(self, words: list[str]) -> None:
        *sources, target = words
        patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
        wanted = [pattern for pattern in patterns if pattern and not pattern.startswith("#")]
        for source in sources:
            place = self.place(target)
            into = place / Path(source).name if target.endswith("/") or len(sources) > 1 else place
            files = [ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*")
            for file in files:
                if file.is_file() and not ignored(file.relative_to(ROOT).as_posix(), wanted):
                    to = into / file.relative_to(ROOT / source) if file != ROOT / source else into
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, to)

    def _run(self, command: str) -> None:
        command = re.sub(r"--mount=\S+ ", "", command)
        command = re.sub(r"(?<![\w.])/opt/", f"{self.root}/opt/", command)
        shell, place = ["sh", "-euc", command], self.place(".")
        subprocess.run(shell, cwd=place, env=self.environment, check=True, capture_output=True, text=True)
