"""Installs the hook of ``support.crash_points`` in a Python process as it starts."""

from ecommerce_pipeline.files import crash_points
from support.crash_points import kill_at_the_named_point

crash_points.install(kill_at_the_named_point)
