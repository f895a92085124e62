"""The variants of this checkout and the environments that nox made for them."""

from __future__ import annotations

import sys
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness.variant import NATIVE, forms

ROOT = Path(__file__).resolve().parents[3]
CONTROL = "cron"
_SUFFIX = "_impl"


def variant_names(form: str = NATIVE) -> tuple[str, ...]:
    """The names of the folders with a ``run.py``: the control first, the others sorted.

    Args:
        form: only those whose pipeline has this form.
    """
    found = [file.parent.name.removesuffix(_SUFFIX) for file in ROOT.glob(f"*{_SUFFIX}/run.py")]
    names = [name for name in found if has_form(name, form)]
    return tuple(sorted(names, key=lambda name: (name != CONTROL, name)))


def has_form(name: str, form: str) -> bool:
    """Whether the pipeline of a variant has a form."""
    return form in forms(ROOT / f"{name}{_SUFFIX}")


def form_names() -> tuple[str, ...]:
    """Every form that some variant's pipeline has, the native one first."""
    found = {form: None for name in variant_names() for form in forms(variant_folder(name))}
    return tuple(sorted(found, key=lambda form: (form != NATIVE, form)))


def form_of_result(name: str) -> str:
    """The form that a result is of, by its name as ``name_in_form`` makes it."""
    return next((form for form in form_names() if name.endswith(f"-{form}")), NATIVE)


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
