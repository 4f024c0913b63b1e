"""Units of work: what a connection is checked out for, such as a request, a task of a queue or a nightly report.

`current_unit` has the unit that runs in the present context, and each checkout reads it. Integrations of frameworks
begin units (`web.unit_middleware`, `web.flask_units`, `web.wsgi_units`, `celery_units`), and so does `unit()`.

Rules: a unit refers to the application's request only until it ends; afterwards it has a name and a code object.
Nothing here raises into the application, but for a wrong use of `unit()`. Nothing here may know a framework, a pool or
a metric.
"""

from pool_exporter.units.block import unit
from pool_exporter.units.code import code_of
from pool_exporter.units.unit_of_work import NO_UNIT, Resolved, Unit, current_unit, innermost, label, leave, running

__all__ = ["NO_UNIT", "Resolved", "Unit", "code_of", "current_unit", "innermost", "label", "leave", "running", "unit"]
