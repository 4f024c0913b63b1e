"""What is pushed belongs to the service that it is of, under an instance that a restart does not change."""

from opentelemetry.sdk.resources import Resource

from pool_exporter.otel.points import Point
from pool_exporter.otel.service_resources import group_by_resource, with_service

BASE = Resource({"service.name": "pool_exporter", "service.instance.id": "sidecar", "deployment.environment": "test"})
HOST = "host"


def point(**attributes: str) -> Point:
    """Return a point."""
    return Point({name.replace("_", "."): value for name, value in attributes.items()}, 1, 0)


def test_each_service_is_a_resource() -> None:
    """Points of a service are that service's; points of none are the base's, with all else that the base says."""
    shop, mail, none = point(service_name="shop"), point(service_name="mail"), point()
    found = {
        of.attributes["service.name"]: (of, points)
        for of, points in group_by_resource({"a": [shop, none], "b": [mail, shop]}, BASE, HOST)
    }

    assert {"shop", "mail", "pool_exporter"} == set(found)
    assert [{"a": [none], "b": [none]}, {"b": [none]}, {"a": [none]}] == [
        found[service][1] for service in ("shop", "mail", "pool_exporter")
    ]
    assert {"test"} == {of.attributes["deployment.environment"] for of, _ in found.values()}
    assert BASE == found["pool_exporter"][0]


def test_points_do_not_repeat_their_resource() -> None:
    """Service and instance are the resource's alone; other attributes stay, and two series stay two."""
    one = point(service_name="shop", service_instance_id="1", state="used")
    own, none = point(service_name="pool_exporter", state="used"), point(state="used")
    found = [group_by_resource({"a": points}, BASE, HOST)[0][1]["a"] for points in ([one], [own], [own, none])]

    assert [[none], [none], [own, none]] == found


def test_each_worker_is_a_resource() -> None:
    """With a series per worker, each worker is an instance of its own."""
    points = [point(service_name="shop", service_instance_id=each) for each in ("1", "2")]

    assert {"1", "2"} == {
        of.attributes["service.instance.id"] for of, _ in group_by_resource({"a": points}, BASE, HOST)
    }


def test_no_two_resources_are_equal() -> None:
    """The base's own service and what has no service are one: of two equal resources one would be lost."""
    found = group_by_resource({"a": [point(service_name="pool_exporter"), point()]}, BASE, HOST)

    assert [(BASE, 2)] == [(of, len(points["a"])) for of, points in found]


def test_instances_are_stable_and_distinct() -> None:
    """An instance's id is the same each time, and another for another service or host."""
    of = [("host", "shop"), ("host", "shop"), ("host", "mail"), ("other", "shop")]
    first, again, *others = (with_service(BASE, *each).attributes["service.instance.id"] for each in of)

    assert first == again
    assert 3 == len({first, *others})
