"""The workflows: what they pin, what they may do, and those of their parts that run on any machine."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((GITHUB / "workflows").glob("*.yml"))}
WORKFLOWS: dict[str, dict[str, Any]] = {
    name: yaml.load(text, yaml.BaseLoader)  # noqa: S506  texts only
    for name, text in TEXTS.items()
}
RELEASE = WORKFLOWS["release"]

each_workflow = pytest.mark.parametrize("name", TEXTS)


@each_workflow
def test_actions_are_pinned(name: str) -> None:
    """Each action is pinned by its commit, with its version beside it, which Renovate reads."""
    uses = re.findall(r"uses: (\S+)(.*)", TEXTS[name])
    assert uses
    for action, comment in uses:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"  # v\d+\.\d+\.\d+", comment), action


@each_workflow
def test_a_failure_in_a_pipe_fails(name: str) -> None:
    """Steps run in bash with pipefail, which GitHub only sets for steps that name the shell."""
    assert WORKFLOWS[name]["defaults"] == {"run": {"shell": "bash"}}


def test_pull_requests_build_start_and_install() -> None:
    """Before a merge the image is built and tested, compose is started, and the chart is installed by both Helms."""
    assert "pull_request" in WORKFLOWS["ci"]["on"]
    jobs = {name: str(job["steps"]) for name, job in WORKFLOWS["ci"]["jobs"].items()}
    assert jobs.keys() == {"test", "coverage", "image", "compose", "chart"}
    assert "make image-test" in jobs["image"]
    assert "docker compose up --build --wait" in jobs["compose"]
    assert {"helm install", "helm test", "--dry-run=server"} <= set(
        re.findall(r"helm \w+|--dry-run=\w+", jobs["chart"])
    )
    helms = WORKFLOWS["ci"]["jobs"]["chart"]["strategy"]["matrix"]["helm"]
    assert {version.split(".")[0] for version in helms} == {"v3", "v4"}


def test_jobs_may_do_only_what_they_need() -> None:
    """No job has more permissions than it names, and none inherits any."""
    assert RELEASE["permissions"] == {}
    assert all("permissions" in job for job in RELEASE["jobs"].values())
    assert all("write-all" not in str(job["permissions"]) for job in RELEASE["jobs"].values())


def test_image_chart_and_wheel_are_published_with_proof() -> None:
    """The image is for both platforms, with SBOM and provenance; all is attested, image and chart also signed."""
    text = TEXTS["release"]
    assert "platforms: linux/amd64,linux/arm64" in text
    assert {"sbom: true", "provenance: mode=max"} <= {line.strip() for line in text.splitlines()}
    assert text.count("actions/attest-build-provenance@") == 3
    assert text.count("cosign sign --yes") == 2
    assert "pypa/gh-action-pypi-publish@" in text
    assert "secrets." not in text.replace("secrets.GITHUB_TOKEN", "")


def test_renovate_takes_its_configuration() -> None:
    """Base image, actions, images of compose.yaml and locks are renewed, by a configuration of Renovate's schema."""
    path = GITHUB / "renovate.json"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.renovate", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    managers = yaml.safe_load(path.read_text(encoding="utf-8"))["enabledManagers"]
    assert set(managers) == {"dockerfile", "docker-compose", "github-actions", "pip_requirements", "custom.regex"}


def test_renovate_finds_every_version_that_a_workflow_names() -> None:
    """Versions that no manager of Renovate reads, such as those of a matrix, match a pattern in the configuration."""
    managers = json.loads((GITHUB / "renovate.json").read_text(encoding="utf-8"))["customManagers"]
    found = {
        (match["depName"], match["currentValue"])
        for text in TEXTS.values()
        for manager in managers
        for match in re.finditer(manager["matchStrings"][0].replace("(?<", "(?P<"), text)
    }
    three, four = WORKFLOWS["ci"]["jobs"]["chart"]["strategy"]["matrix"]["helm"]
    (prometheus,) = re.findall(r"prom/prometheus:(\S+)", "".join(TEXTS.values()))
    assert found == {("helm/helm below 4", three), ("helm/helm", four), ("prom/prometheus", prometheus)}


# Steps that need no GitHub ----------------------------------------------------------------------------------------


def step(job: str, name: str) -> str:
    """The script of a step of the release."""
    (found,) = [each["run"] for each in RELEASE["jobs"][job]["steps"] if each.get("name", "").startswith(name)]
    return str(found)


def bash(script: str, directory: Path, tag: str) -> subprocess.CompletedProcess[str]:
    """Runs a script as GitHub does."""
    environment = {
        "PATH": f"{directory}:/usr/bin:/bin:{Path(sys.executable).parent}",
        "GITHUB_REF_NAME": tag,
        "IMAGE": "ghcr.io/o/image:1.0.0",
        "IMAGE_DIGEST": "sha256:1",
        "CHART": "ghcr.io/o/charts/chart",
        "CHART_DIGEST": "sha256:2",
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The parts of the repository that the steps read, with the changelog as for a release."""
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    shutil.copytree(ROOT / "helm", tmp_path / "helm")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = re.sub(r"^## \[1\.0\.0\] - .*$", "## [1.0.0] - 2026-12-01", changelog, flags=re.MULTILINE)
    (tmp_path / "CHANGELOG.md").write_text(dated + "\n## [0.9.0] - 2026-01-01\n\nOlder.\n", encoding="utf-8")
    return tmp_path


def test_a_release_has_one_version_and_a_date(checkout: Path) -> None:
    """A tag of another version fails, and so does one whose section of the changelog has no date."""
    script = step("check", "The tag is")
    assert bash(script, checkout, "v1.0.0").returncode == 0
    assert bash(script, checkout, "v1.0.1").returncode != 0
    changelog = checkout / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("- 2026-12-01", "- Unreleased"))
    assert bash(script, checkout, "v1.0.0").returncode != 0


@pytest.mark.parametrize(
    ("image", "chart", "pypi", "why"),
    [
        ("404", "404", "404", ""),
        ("200", "404", "404", "already published: the image o/r:1.0.0"),
        ("404", "200", "404", "already published: version 1.0.0 of the chart; raise it in Chart.yaml"),
        ("404", "404", "200", "already published: cyberun-exporter 1.0.0 on PyPI"),
        ("403", "404", "404", "cannot tell whether this is already published: the image o/r:1.0.0 (the answer is 403)"),
        ("404", "000", "404", "(the answer is 000)"),
        ("404", "404", "", "(the answer is none)"),
    ],
)
def test_nothing_is_published_twice(checkout: Path, image: str, chart: str, pypi: str, why: str) -> None:
    """An existing version stops the release, and so does an answer that is neither yes nor no."""
    (checkout / "curl").write_text(
        f"""#!/bin/sh
        case "$*" in
            *"--user someone:secret https://ghcr.io/token"*) echo '{{"token":"abc"}}' ;;
            *"Bearer abc"*v2/o/r/manifests/1.0.0) printf %s '{image}' ;;
            *"Bearer abc"*v2/o/charts/cyberun-exporter/manifests/1.0.0) printf %s '{chart}' ;;
            *pypi.org/pypi/cyberun-exporter/1.0.0/json) printf %s '{pypi}' ;;
            *) exit 22 ;;
        esac
        """
    )
    (checkout / "curl").chmod(0o755)
    environment = "export GITHUB_REPOSITORY=O/R GITHUB_REPOSITORY_OWNER=O GITHUB_ACTOR=someone TOKEN=secret\n"
    result = bash(environment + step("check", "Nothing of this version"), checkout, "v1.0.0")
    assert (result.returncode != 0) is bool(why), result
    assert why in result.stdout


def test_a_release_has_the_changelogs_section_as_notes(checkout: Path) -> None:
    """The notes are the version's section and the published digests; without a section nothing is released."""
    # What `gh` would be given.
    (checkout / "gh").write_text('#!/bin/sh\necho "$@" >>asked\n')
    (checkout / "gh").chmod(0o755)
    script = step("release", "Make a release")
    result = bash(script, checkout, "v1.0.0")
    assert result.returncode == 0, result.stderr
    notes = (checkout / "notes.md").read_text()
    assert "### Metrics" in notes
    assert "Older." not in notes
    assert "`ghcr.io/o/image:1.0.0@sha256:1`" in notes
    assert "`oci://ghcr.io/o/charts/chart@sha256:2`" in notes
    assert (checkout / "asked").read_text().startswith("release create v1.0.0 --verify-tag")
    (checkout / "asked").unlink()
    assert bash(script, checkout, "v2.0.0").returncode != 0
    assert not (checkout / "asked").exists()


def test_a_push_without_a_digest_stops_the_release(checkout: Path) -> None:
    """A chart that was not pushed or whose digest is unknown is neither signed nor attested."""
    (push,) = [each["run"] for each in RELEASE["jobs"]["chart"]["steps"] if each.get("id") == "push"]
    environment = f"export GITHUB_REPOSITORY_OWNER=o GITHUB_OUTPUT={checkout}/output; "
    for says, code in (("echo Digest: sha256:3", 0), ("echo pushed", 1), ("echo no >&2; exit 1", 1)):
        (checkout / "helm.sh").write_text(f'#!/bin/sh\n[ "$1" = package ] && exit 0\n{says}\n')
        (checkout / "bin").mkdir(exist_ok=True)
        (checkout / "helm.sh").replace(checkout / "bin" / "helm")
        (checkout / "bin" / "helm").chmod(0o755)
        result = bash(f"{environment}PATH={checkout}/bin:$PATH\n{push}", checkout, "v1.0.0")
        assert (result.returncode != 0) is bool(code), says
