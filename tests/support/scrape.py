"""Metrics as Prometheus reads them: a sample's value by its name and labels."""

import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, ...], float]


def scraped(url: str) -> Samples:
    """What is exposed there; nothing while nobody answers."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        return parsed(answer.read().decode())
    return {}


def parsed(text: str) -> Samples:
    """Each sample of the text format, by its name and the values of its labels, sorted by their names."""
    return {_key(one): one.value for family in text_string_to_metric_families(text) for one in family.samples}


def collected(collector: Any) -> Samples:
    """The samples of a collector."""
    return {_key(one): one.value for family in collector.collect() for one in family.samples}


def of(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    """The values of one metric, by its labels."""
    return {key[1:]: value for key, value in samples.items() if key[0] == name}


def names(samples: Iterable[tuple[str, ...]]) -> set[str]:
    """The metrics' names, without what a histogram adds."""
    return {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name, *_ in samples}


def _key(sample: Any) -> tuple[str, ...]:
    return (sample.name, *(sample.labels[label] for label in sorted(sample.labels)))
