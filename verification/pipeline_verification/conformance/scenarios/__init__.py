"""The scenarios: each file in this folder has one, as ``SCENARIO``."""

from __future__ import annotations

import importlib
import pkgutil

from pipeline_verification.conformance.scenario_run import Scenario


def discover() -> dict[str, Scenario]:
    """The scenarios by name, which is the file's."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").SCENARIO for name in names}
