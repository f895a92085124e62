"""The variants of this checkout and the environments that nox made for them."""

from __future__ import annotations

import sys
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError

ROOT = Path(__file__).resolve().parents[3]
CONTROL = "cron"
_SUFFIX = "_impl"


def variant_names() -> tuple[str, ...]:
    """The names of the folders with a ``run.py``: the control first, the others sorted."""
    found = [file.parent.name.removesuffix(_SUFFIX) for file in ROOT.glob(f"*{_SUFFIX}/run.py")]
    return tuple(sorted(found, key=lambda name: (name != CONTROL, name)))


def variant_folder(name: str) -> Path:
    """The folder that holds a variant.

    Raises:
        PipelineError: there is no such variant.
    """
    if name not in variant_names():
        raise PipelineError(
            f"there is no variant {name!r}", f"choose from {', '.join(variant_names())}"
        )
    return ROOT / f"{name}{_SUFFIX}"


def interpreter(name: str) -> Path:
    """The Python of a variant's environment.

    Raises:
        PipelineError: there is no such variant, or its environment was not made yet.
    """
    variant_folder(name)
    # nox keeps all environments in one folder, and this process runs in one of them.
    python = Path(sys.prefix).parent / name / "bin" / "python"
    if not python.exists():
        raise PipelineError(
            f"the environment of {name} is missing", f"make it with: nox -s {name} --install-only"
        )
    return python
