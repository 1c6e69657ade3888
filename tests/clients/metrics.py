"""Reads a page of metrics from standard input with Prometheus' own parser, and checks its names
against Prometheus' conventions. Prints the names of its families, one on each line."""

import re
import sys

from prometheus_client.parser import text_string_to_metric_families

page = sys.stdin.read()
samples = set()
for family in text_string_to_metric_families(page):
    assert family.documentation.endswith("."), family.name
    assert family.type in ("counter", "gauge", "histogram"), (family.name, family.type)
    assert re.fullmatch(r"(aloud|process)_[a-z_]+[a-z]", family.name), family.name
    assert family.samples, family.name
    for sample in family.samples:
        if family.type == "counter":
            assert sample.name.endswith("_total"), sample.name
        if family.type == "gauge":
            assert not sample.name.endswith(("_total", "_count", "_sum", "_bucket")), sample.name
        assert not re.search(r"_(ms|millis|milliseconds|kb|kib|mb)(_|$)", sample.name), sample.name
        assert all(re.fullmatch(r"[a-z]+", label) for label in sample.labels), sample
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in samples, key
        samples.add(key)
    if family.type == "histogram":
        buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
        counts = [sample.value for sample in buckets]
        bounds = [float(sample.labels["le"]) for sample in buckets]
        assert counts == sorted(counts) and bounds == sorted(bounds), family.name
        assert bounds[-1] == float("inf") and counts[-1] == family.samples[-1].value, family.name
    print(family.name)
