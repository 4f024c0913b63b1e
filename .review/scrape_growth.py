from mkn import *
clone('n0','s1')
p=pathlib.Path('/tmp/exp/s1/pool_exporter/render/prometheus.py'); s=p.read_text()
i=s.index("def families("); j=s.index("def descriptions")
s=s[:i]+'''class _Samples:
    """The samples of one family, made one by one whenever they are run through.

    A list of all of them would be a hundred thousand objects that outlive two collections of the garbage collector, which
    then visits every object of the application.
    """

    def __init__(self, metric: Metric, values: list[tuple[Labels, object]]) -> None:
        self._metric = metric
        self._values = values

    def __iter__(self) -> Iterator[Sample]:
        for labels, value in self._values:
            yield from _samples(self._metric, labels, value)


def families(snapshot: Snapshot) -> Iterator[Family]:
    """Yield every family of the catalogue in its order, each with the samples of all pools."""
    pools = [(pool, _labels(pool.identity.values())) for pool in snapshot.pools]
    for metric in POOL_METRICS:
        yield _family(metric, [(labels, getattr(pool, metric.field)) for pool, labels in pools])
    for metric in EXPORTER_METRICS:
        yield _family(metric, [({}, getattr(snapshot, metric.field))])


'''+s[j:]
i=s.index("def _family("); j=s.index("def _labels")
s=s[:i]+'''def _family(metric: Metric, values: list[tuple[Labels, object]] = []) -> Family:
    family = Family(metric.family, metric.help, _TYPES[metric.kind])
    family.samples = _Samples(metric, values)
    return family


'''+s[j:]
i=s.index("def _add(")
s=s[:i]+'''def _samples(metric: Metric, labels: Labels, value: object) -> Iterator[Sample]:
    if isinstance(value, Histogram):
        yield from _histogram(metric.family, labels, value)
    elif metric.kind is Kind.INFO and isinstance(value, Mapping):
        yield Sample(metric.prometheus, {**labels, **value}, 1)
    elif metric.label is not None and isinstance(value, Mapping):
        for own, number in value.items():
            yield Sample(metric.prometheus, {**labels, metric.label.prometheus: own}, number)
    elif isinstance(value, int | float):
        yield Sample(metric.prometheus, labels, value)


def _histogram(family: str, labels: Labels, histogram: Histogram) -> Iterator[Sample]:
    bucket = f"{family}_bucket"
    for le, count in zip(_LE, histogram.cumulative(), strict=True):
        yield Sample(bucket, {**labels, "le": le}, count)
    yield Sample(f"{family}_sum", labels, histogram.sum)
    yield Sample(f"{family}_count", labels, histogram.count)
'''
s=s.replace("from prometheus_client.core import Metric as Family\n","from prometheus_client.core import Metric as Family\nfrom prometheus_client.core import Sample\n")
p.write_text(s)
