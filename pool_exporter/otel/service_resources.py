"""The OpenTelemetry resources of the metrics that a sidecar pushes: one for each service, or for each worker.

With a series per worker, the points have the attribute `service.instance.id`. Otherwise the numbers are of all workers
of the service, and the instance id is derived from host and service, so that it is the same after every restart: a new
one would be a new series of every counter. What a resource says, its points do not repeat. Nothing here may know how
points are made or sent.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

from pool_exporter.otel.points import Attributes, Point

Points: TypeAlias = dict[str, list[Point]]

_INSTANCES: Final = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
"""The namespace in which the conventions make an instance's id out of its name."""


def with_service(resource: Resource, host: str, service: str, instance: str = "") -> Resource:
    """Return *resource* with the name of a service, and the id of one instance, or of all on the host."""
    instance = instance or str(uuid.uuid5(_INSTANCES, f"{host}/{service}"))
    return resource.merge(Resource({SERVICE_NAME: service, SERVICE_INSTANCE_ID: instance}))


def group_by_resource(
    points: Mapping[str, Sequence[Point]], base: Resource, host: str
) -> list[tuple[Resource, Points]]:
    """Group points by service and instance. Points of no service, or of the service of *base*, get *base*.

    No two resources are equal: an encoder would send only the last of them.
    """
    groups: dict[tuple[str, str], Points] = {}
    own = str(base.attributes[SERVICE_NAME])
    for name, of_it in points.items():
        for point in of_it:
            service = str(point.attributes.get(SERVICE_NAME, own))
            group = groups.setdefault((service, str(point.attributes.get(SERVICE_INSTANCE_ID, ""))), {})
            group.setdefault(name, []).append(point)
    return [
        (
            base if key == (own, "") else with_service(base, host, *key),
            {name: _without_service(each) for name, each in group.items()},
        )
        for key, group in groups.items()
    ]


def _without_service(points: list[Point]) -> list[Point]:
    """Return the points of one metric and resource without what the resource says.

    They are returned as they are where two would be the same series: a pool without a service, and one of the same name
    whose service is that of the sidecar.
    """
    found = [replace(each, attributes=_without(each.attributes)) for each in points]
    different = {frozenset(each.attributes.items()) for each in found}
    return found if len(different) == len(found) else points


def _without(attributes: Attributes) -> Attributes:
    return {name: each for name, each in attributes.items() if name not in (SERVICE_NAME, SERVICE_INSTANCE_ID)}
