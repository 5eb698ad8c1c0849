"""Everything that the documents mention exists: pages, headings, commands, flags, keys, metrics, reasons."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from exporter.catalog import CATALOG, Kind
from exporter.cli.arguments import COMMANDS, parse, parser_of
from exporter.config.settings import Settings
from exporter.demo.sources import FIELDS
from exporter.errors import REASONS
from exporter.platform import wire
from exporter.service.budget import MAX_REQUESTS_PER_POLL, MIN_REQUESTS_PER_POLL
from support.rules import ALERTS, RECORDS, ROOT

DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
PAGES = sorted({*(ROOT / name for name in LISTED.splitlines()), *DOCS.glob("*.md")})
LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", read(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.+)", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Where the page's links within the repository lead: the file or folder, and the heading."""
    for link in LINK.findall(prose(page)):
        if "://" not in link:
            path, _, heading = link.partition("#")
            yield (page.parent / path).resolve() if path else page, heading


def commands(page: Path) -> Iterator[str]:
    """The lines of the page's blocks that call the exporter, continued ones joined, without comments."""
    for language, block in FENCE.findall(read(page)):
        if language in {"sh", "console"}:
            for line in block.replace("\\\n", " ").splitlines():
                called = re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )?(?:\S*/)?(cyberun-exporter(?: .*)?)$", line)
                yield from [called[1]] if called else []


def metric_names() -> set[str]:
    """Every name that a query may use."""
    histograms = {f"{m.name}_{end}" for m in CATALOG if m.kind is Kind.HISTOGRAM for end in ("bucket", "sum", "count")}
    return {metric.name for metric in CATALOG} | {metric.family for metric in CATALOG} | histograms


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """A link within the repository leads to an existing file or folder, and to an existing heading."""
    for target, heading in links(page):
        assert target.exists(), target
        assert not heading or heading in anchors(target), f"{target}#{heading}"


def test_the_sample_output_is_the_exporters() -> None:
    """The sample of the metrics in README.md has the names, labels and number formats of the golden exposition."""
    golden = (ROOT / "tests" / "golden" / "metrics.prom").read_text(encoding="utf-8")
    shown = re.findall(r"^(cyberun_\w+\{.*\}) (\S+)$", read(ROOT / "README.md"), re.MULTILINE)
    assert shown
    for series, number in shown:
        shape = re.sub('"[^"]*"', '"[^"]*"', re.escape(series).replace('\\"', '"'))
        values = re.findall(rf"^{shape} (\S+)$", golden, re.MULTILINE)
        assert values, series
        assert any(("." in number) == ("." in value) for value in values), series


def test_every_page_is_in_the_index() -> None:
    """The README of docs/ links every page and decision; the page about alerts links the runbooks."""
    linked = {target for target, _ in links(INDEX)}
    assert {*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md"), *DOCS.glob("examples/*")} - {INDEX} <= linked
    assert set(DOCS.glob("runbooks/*.md")) <= {target for target, _ in links(DOCS / "alerts.md")}


def test_every_folder_is_on_the_map() -> None:
    """CONTRIBUTING.md says what each folder holds, including each folder in tests/."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    parts = [name.split("/") for name in listed.splitlines() if not name.startswith(".")]
    folders = {each[0] if each[0] != "tests" else f"tests/{each[1]}" for each in parts if len(each) > 1}
    on_the_map = re.findall(r"^\| `([^`]+)` \|", read(ROOT / "CONTRIBUTING.md"), re.MULTILINE)
    missing = {each for each in folders if not any(f"{row}/".startswith(f"{each}/") for row in on_the_map)}
    assert missing <= {"tests/conftest.py"}


def test_every_picture_is_shown() -> None:
    """Every picture is shown on some page."""
    assert set(DOCS.glob("images/*")) <= {target for page in PAGES for target, _ in links(page)}


@each_page
def test_commands_are_understood(page: Path) -> None:
    """Every command line in a page is valid."""
    for command in commands(page):
        words = shlex.split(command, comments=True)
        parse([word for word in words[1:] if word != "&"])


@each_page
def test_commands_in_a_sentence_are_understood(page: Path) -> None:
    """So is a command within a sentence, as far as it is written out."""
    for code in re.findall(r"`(cyberun-exporter [^`\n]+)`", prose(page)):
        if not re.search(r"…|--version|--help", code):
            parse(shlex.split(code)[1:])


@each_page
def test_flags_exist(page: Path) -> None:
    """Flags that are named like ours, also those of a container's or a pod's arguments, exist."""
    flag = r"--(?:config|log|web)\.[a-z.-]*[a-z]"
    known = {each for command in COMMANDS for each in re.findall(flag, parser_of(command).format_usage())}
    assert set(re.findall(flag, read(page))) <= known


@each_page
def test_files_exist(page: Path) -> None:
    """A file or folder of the repository that a page names, from its top or relative to the page, exists."""
    ignored = read(ROOT / ".gitignore").split()
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        for name in re.findall(r"(?<![\w./{}<-])[\w*-][\w.*-]*/[\w./*-]*(?![\w{}<])", code):
            top = name.partition("/")[0]
            if (ROOT / top).is_dir() and name not in ignored:
                assert any(ROOT.glob(name.rstrip("/"))) or any(page.parent.glob(name.rstrip("/"))), name


@each_page
def test_make_has_the_targets(page: Path) -> None:
    """Every make target that a page mentions as code is in the Makefile."""
    makefile = read(ROOT / "Makefile")
    for target in re.findall(r"(?:`|^\$? ?)make ([a-z-]+)\b", read(page), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@each_page
def test_keys_exist(page: Path) -> None:
    """Every configuration key that a page mentions exists."""
    known = {f"{section}.{key}" for section in ("api", "collect", "web", "log") for key in keys_of(section)}
    found = re.findall(r"`((?:api|collect|web|log)\.[a-z_]+)(?::[^`]*)?`", prose(page))
    assert {key for key in found if not key.endswith((".yml", ".yaml"))} - {"web.yml"} <= known


def keys_of(section: str) -> set[str]:
    model = Settings.model_fields[section].annotation
    assert model is not None
    return set(getattr(model, "model_fields", {}))


@each_page
def test_metrics_exist(page: Path) -> None:
    """A metric that a page mentions is in the catalogue, recorded by a rule, or defined by the page's own `as:`."""
    text = read(page)
    own = re.findall(r"\bas: (\w+)", text)
    known = {*metric_names(), *own, *(name for record in RECORDS for name in record.split(":"))}
    for name in re.findall(r"\bcyberun_[a-z_]+[a-z](?![a-z_]*[*…])", text):
        assert name in known or name == "cyberun_exporter", name


def _fields(thing: str) -> Iterator[str]:
    for things in FIELDS.values():
        yield from things.get(thing, ())


def test_every_field_of_both_lists_is_decided() -> None:
    """Every field of a task, an agent or their pages has a row that says what it becomes, or why it is not used."""
    _, tasks, agents, *_ = read(DOCS / "decisions" / "fields.md").split("\n## ")
    for list_of, text in (("a task", tasks), ("an agent", agents)):
        rows = "".join(row.split("|")[1] for row in text.splitlines() if row.startswith("|"))
        told = {name.rpartition(".")[2] for name in re.findall(r"`([\w.]+)`", rows)}
        fields = [*_fields(list_of), *_fields("`page_meta`")]
        assert {name.rpartition(".")[2] for name in fields} <= told


def test_every_reason_is_explained() -> None:
    """The troubleshooting page has a row for each reason, in the order of the errors, and for nothing else."""
    table = read(DOCS / "troubleshooting.md").partition("| reason |")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == REASONS


def test_every_field_is_explained() -> None:
    """The decision about fields says what becomes of every field that is read, and calls no such field unused."""
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", read(DOCS / "decisions" / "fields.md"), re.MULTILINE)
    used, unused = (
        {name for names, becomes in rows if (becomes == "not used") is wanted for name in re.findall(r"\w+", names)}
        for wanted in (False, True)
    )
    models = (wire.Task, wire.Agent, wire.SystemStats, wire.GpuDevice, wire.Workflow)
    found = {each.name for model in models for each in fields(model)}
    assert (found - used, found & unused) == (set(), set()), "say in docs/decisions/fields.md what becomes of it"


def test_numbers_of_the_readme() -> None:
    """The README has the right numbers of alerts, of requests, and of the demonstration's teams and agents."""
    text = " ".join(read(ROOT / "README.md").split())
    assert f"- {len(ALERTS)} [alerts]" in text
    assert f"{MIN_REQUESTS_PER_POLL} to {MAX_REQUESTS_PER_POLL} requests per team" in text
    simulation = parse(["demo"]).simulation
    assert simulation is not None
    assert (simulation.teams, simulation.agents) == (3, 36)
    assert "with three teams and 36 agents" in text


@each_page
def test_alerts_exist(page: Path) -> None:
    """Every alert that a page mentions exists."""
    assert set(re.findall(r"\bCyberun[A-Z]\w+", read(page))) <= {alert.name for alert in ALERTS}


@each_page
def test_pages_speak_of_no_machine_and_no_secret(page: Path) -> None:
    """No page mentions a person's folder or shows a complete credential, and none is unfinished."""
    text = read(page)
    assert not re.search(r"/(?:home|root|Users|work)/", text)
    assert not re.search(r"\b[sd]k-[0-9A-Za-z]{20,}|\beyJ[\w-]{10,}\.", text)
    assert not re.search(r"\b(?:TODO|FIXME|XXX|TBD)\b", text)
