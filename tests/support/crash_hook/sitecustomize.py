"""Installs the hook of ``support.crash_points`` in a Python process as it starts."""

from ecommerce_pipeline.execution import environment
from ecommerce_pipeline.files import crash_points
from support.crash_points import kill_at_the_named_point

environment.PASSED_ON = (*environment.PASSED_ON, "PYTHONPATH")  # the hook's own, to the step server
crash_points.install(kill_at_the_named_point)
