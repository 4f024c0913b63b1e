"""Whose metrics a sidecar pushes: one resource of OpenTelemetry for each service, or for each worker of one.

A worker that is told apart has its own `service.instance.id` as an attribute of its points. Without one, the numbers
are of all workers together, and their instance is named after the host and the service, the same after every restart: a
new one would be a new series of every counter. Nothing here may know how points are made or sent.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

from pool_exporter.otel.points import Point

Points: TypeAlias = dict[str, list[Point]]

_INSTANCES: Final = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
"""The namespace in which the conventions make an instance's id out of its name."""


def named(resource: Resource, host: str, service: str, instance: str = "") -> Resource:
    """Return *resource* as that of a service, and of one instance or of all on the host."""
    instance = instance or str(uuid.uuid5(_INSTANCES, f"{host}/{service}"))
    return resource.merge(Resource({SERVICE_NAME: service, SERVICE_INSTANCE_ID: instance}))


def group_by_resource(
    points: Mapping[str, Sequence[Point]], base: Resource, host: str
) -> list[tuple[Resource, Points]]:
    """Group points by the service that they are of; those of none, and of the base's own, are the base's.

    No two resources are equal: of such an encoder sends the last one alone.
    """
    groups: dict[tuple[str, str], Points] = {}
    own = str(base.attributes[SERVICE_NAME])
    for name, of_it in points.items():
        for point in of_it:
            service = str(point.attributes.get(SERVICE_NAME, own))
            group = groups.setdefault((service, str(point.attributes.get(SERVICE_INSTANCE_ID, ""))), {})
            group.setdefault(name, []).append(point)
    return [(base if key == (own, "") else named(base, host, *key), group) for key, group in groups.items()]
