"""The image is built from pinned inputs, runs as an ordinary user, and contains nothing it does not need."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from support.chart import rendered
from support.dockerfile import Step, ignored, stages

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
GLOBAL, BUILD, FINAL = stages(DOCKERFILE)
RELEASE = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
IGNORE = [
    line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n") if line[:1] not in ("", "#")
]


def of(name: str, steps: list[Step] = FINAL) -> list[Step]:
    """The steps of a kind."""
    return [step for step in steps if step.name == name]


def hadolint(text: str) -> list[str]:
    """The codes of what hadolint finds."""
    command = [
        str(Path(sys.executable).with_name("hadolint")),
        "--format",
        "json",
        "--config",
        str(ROOT / ".hadolint.yaml"),
        "-",
    ]
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return [finding["code"] for finding in json.loads(result.stdout)]


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile keeps hadolint's rules, a HEALTHCHECK among them; without one there is a finding."""
    assert hadolint(DOCKERFILE) == []
    assert hadolint(re.sub("^HEALTHCHECK.*", "", DOCKERFILE, flags=re.MULTILINE)) == ["DL3057"]


def test_the_base_is_pinned() -> None:
    """Both stages start from one base, by version and by digest."""
    (base,) = GLOBAL
    assert re.fullmatch(r"PYTHON_IMAGE=docker\.io/library/python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base.rest)
    assert [of("FROM", steps)[0].words[0] for steps in (BUILD, FINAL)] == ["${PYTHON_IMAGE}"] * 2


def test_the_python_is_a_supported_one() -> None:
    """The image's Python is among those that every change is tested with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = re.search(r"python:(3\.\d+)\.", GLOBAL[0].rest)
    assert version
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]


def test_the_image_runs_as_nobody() -> None:
    """The user is the number that the chart's pods run as, never root, and the last stage changes nothing after it."""
    (user,) = of("USER")
    context = rendered("defaults").workload["spec"]["template"]["spec"]["securityContext"]
    assert user.rest == "65532:65532" == f"{context['runAsUser']}:{context['runAsGroup']}"
    after = FINAL[FINAL.index(user) :]
    assert not {step.name for step in after} & {"RUN", "COPY", "ADD"}


def test_signals_reach_the_exporter() -> None:
    """Entry point and health check are lists, so no shell is involved; the stop signal is one the exporter handles."""
    assert [json.loads(step.rest) for step in of("ENTRYPOINT")] == [["cyberun-exporter"]]
    (check,) = of("HEALTHCHECK")
    assert json.loads(check.rest.partition("CMD ")[2]) == ["cyberun-exporter", "health"]
    assert [step.rest for step in of("STOPSIGNAL")] == ["SIGTERM"]
    assert of("CMD") == []


def test_dependencies_are_locked_and_come_before_the_source() -> None:
    """Packages from an index are hashed wheels; a change of the source does not invalidate their layers."""
    pip = [line for step in of("RUN", BUILD) for line in step.rest.split("&&") if "pip --python" in line]
    assert len([line for line in pip if " install " in line]) == 3
    checked = {line.split()[2].removesuffix("/bin/python") for line in pip if line.rstrip().endswith(" check")}
    assert checked == {"/opt/cyberun-exporter", "/opt/hatch"}
    assert "PIP_ONLY_BINARY=:all:" in of("ENV", BUILD)[0].words
    order = [step.rest for step in BUILD]
    assert order.index("exporter exporter") > max(i for i, rest in enumerate(order) if "--require-hashes" in rest)


def test_no_secret_goes_into_the_image() -> None:
    """Neither arguments nor variables of the build are credentials."""
    names = [
        word.split("=")[0] for step in (*GLOBAL, *BUILD, *FINAL) if step.name in ("ARG", "ENV") for word in step.words
    ]
    assert "REVISION" in names
    assert not [name for name in names if re.search("TOKEN|SECRET|KEY|PASSWORD", name)]


def test_the_image_says_what_it_is() -> None:
    """Constant labels are in the Dockerfile, and those of a build are added by it, so none is ever empty."""
    labels = dict(word.split("=", 1) for word in of("LABEL")[0].words)
    parts = ("title", "description", "licenses", "source", "documentation")
    assert labels.keys() == {f"org.opencontainers.image.{part}" for part in parts}
    assert not [text for text in labels.values() if "$" in text or not text]
    (build,) = [
        step["with"] for step in RELEASE["jobs"]["image"]["steps"] if "build-push-action" in step.get("uses", "")
    ]
    given = dict(line.split("=", 1) for line in build["labels"].splitlines())
    assert given.keys() == {f"org.opencontainers.image.{part}" for part in ("version", "revision", "created")}
    assert "CYBERUN_EXPORTER_REVISION=${REVISION}" in of("ENV")[0].words


def test_python_is_compiled() -> None:
    """Standard library and exporter are compiled without timestamps: no start compiles, and builds are reproducible."""
    compiles = [step.rest for step in (*BUILD, *FINAL) if "compileall" in step.rest]
    assert len(compiles) == 2
    assert all("--invalidation-mode unchecked-hash" in each for each in compiles)
    installs = [line for step in of("RUN", BUILD) for line in step.rest.split("&&") if " install " in line]
    assert [each for each in installs if "/opt/cyberun-exporter" in each and "--no-compile" not in each] == []


def test_no_frontend_is_fetched() -> None:
    """The Dockerfile only uses syntax that engines have built in, so none is fetched unpinned."""
    assert "# syntax=" not in DOCKERFILE


def test_the_health_check_has_patience() -> None:
    """The image's health check runs rarely, and allows for a slow start and a slow answer."""
    (check,) = of("HEALTHCHECK")
    seconds = {word[2:].split("=")[0]: int(word.split("=")[1].removesuffix("s")) for word in check.words if "=" in word}
    assert seconds["interval"] >= 30
    assert seconds["timeout"] >= 10
    assert seconds["start-period"] >= 60


def test_the_exposed_port_is_the_default() -> None:
    """The image exposes the port that the exporter and the chart listen on."""
    (port,) = rendered("defaults").container["ports"]
    assert [step.rest for step in of("EXPOSE")] == [str(port["containerPort"])]


@pytest.mark.parametrize(
    ("path", "out"),
    [
        (".git/config", True),
        (".venv/bin/python", True),
        ("secrets/render", True),
        ("requirements/dev.txt", True),
        ("exporter/cli/__pycache__/serve.pyc", True),
        ("exporter/cli/serve.py", False),
        ("requirements/runtime.txt", False),
        ("pyproject.toml", False),
    ],
)
def test_the_build_sees_only_what_it_copies(path: str, out: bool) -> None:  # noqa: FBT001  a column of the table
    """.dockerignore lists what may be part of the build and excludes everything else."""
    assert ignored(path, IGNORE) is out


def test_everything_copied_enters_the_build() -> None:
    """No COPY of the Dockerfile names a file that .dockerignore leaves out."""
    sources = [word for step in of("COPY", BUILD) for word in step.words[:-1]]
    assert sources
    assert [source for source in sources if ignored(source, IGNORE) or not (ROOT / source).exists()] == []
