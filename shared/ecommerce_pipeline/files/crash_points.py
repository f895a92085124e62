"""Named points at which a test may interrupt the process; without a test's hook they do nothing.

No setting and no environment variable reaches them: a test installs its hook in the process.
"""

from __future__ import annotations

from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None]) -> None:
    """Have ``hook`` called with the name of each point that this process comes to."""
    global _hook  # noqa: PLW0603 (one hook for a process, as its children inherit it)
    _hook = hook


def crash_point(name: str) -> None:
    """Call the hook, where one is installed."""
    if _hook is not None:
        _hook(name)
