"""The steps. ``specification.STEPS`` lists them; here their functions are found.

Each takes a ``StepContext`` and returns a ``StepResult``; each is idempotent, atomic and keyed
on the data interval. A failure raises ``PipelineError``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.specification import STEP_BY_NAME

Step = Callable[[StepContext], StepResult]


def resolve(name: str) -> Step:
    """The function of the step ``name``; its module is imported when it is first asked for.

    Raises:
        KeyError: the specification has no such step.
    """
    step = STEP_BY_NAME[name]
    module, _, function = step.function.partition(":")
    run = getattr(import_module(f"{__name__}.{module}"), function)
    return lambda context: run(context, *step.arguments)


def notify_failure(context: StepContext, step: str, reason: str) -> StepResult:
    """Notify that a step failed for good; a notifier's own failure is reported, never raised.

    Each tool calls this from its own hook for failures; it is no step.
    """
    from ecommerce_pipeline.steps import notify

    return notify.notify_failure(context, step=step, reason=reason)
