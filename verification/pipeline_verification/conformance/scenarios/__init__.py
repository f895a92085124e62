"""What every variant must come through equal: each file in this folder is one scenario."""

from __future__ import annotations

import importlib
import pkgutil

from pipeline_verification.conformance.stage import Scenario


def discover() -> dict[str, Scenario]:
    """The scenarios by name, which is that of the file; each file has a ``SCENARIO``."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").SCENARIO for name in names}
