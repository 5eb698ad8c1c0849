"""Expositions, parsed as strictly as the client library can, and slightly more so."""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from exporter.catalog import DOMAIN_METRICS
from exporter.expose.compression import inflate
from exporter.expose.series_store import CompressedFamilies
from exporter.expose.text import header


@dataclass(frozen=True, slots=True)
class Samples:
    """One exposition: every sample by its name and labels."""

    values: dict[tuple[str, frozenset[tuple[str, str]]], float]
    families: dict[str, Metric]
    """By family name, as the parser gives it."""

    def value(self, name: str, **labels: str) -> float | None:
        """The sample with exactly these labels; None where there is none."""
        return self.values.get((name, frozenset(labels.items())))

    def series(self, name: str, **labels: str) -> list[dict[str, str]]:
        """The label sets of all samples of a name that have at least these labels."""
        return [dict(found) for each, found in self.values if each == name and labels.items() <= dict(found).items()]

    def names(self) -> set[str]:
        """Every sample name there is."""
        return {name for name, _ in self.values}


def parse_text(exposition: str) -> Samples:
    """Text format 0.0.4.

    Raises:
        ValueError: it does not parse, or a series or family is there twice.
    """
    return _collect(exposition, text_string_to_metric_families(exposition))


def parse_families(families: CompressedFamilies) -> Samples:
    """What a poll gave of one list."""
    heads = {metric.name: header(metric, openmetrics=False) for metric in DOMAIN_METRICS}
    texts = (heads[name] + inflate(text) for name, text in families.texts.items())
    return parse_text(b"".join(texts).decode())


def parse_openmetrics(exposition: str) -> Samples:
    """OpenMetrics 1.0.0.

    Raises:
        ValueError: it does not parse, or a series or family is there twice.
    """
    return _collect(exposition, openmetrics.text_string_to_metric_families(exposition))  # type: ignore[no-untyped-call]  # theirs has no types


def _collect(exposition: str, parsed: Iterable[Metric]) -> Samples:
    values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    families: dict[str, Metric] = {}
    for family in parsed:
        if family.name in families:
            raise ValueError(f"family {family.name} comes twice")
        families[family.name] = family
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            if key in values:
                raise ValueError(f"series {sample.name}{sample.labels} comes twice")
            values[key] = sample.value
    # The OpenMetrics parser drops some duplicates in silence.
    written = sum(bool(line) and not line.startswith("#") for line in exposition.split("\n"))
    if written != len(values):
        raise ValueError(f"{written} series were written, {len(values)} read: one comes twice")
    return Samples(values, families)
