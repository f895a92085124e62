"""The one exception type that a user sees: one line that names what is wrong, and a hint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PipelineError(Exception):
    """A failure whose cause is outside the code: bad input, a failed test, an unreachable source.

    Args:
        message: what is wrong, naming the file, table or setting; never contains a credential.
        hint: what the reader can do about it.
        retryable: True when trying again soon may succeed without anyone changing anything.
    """

    def __init__(self, message: str, hint: str, *, retryable: bool = False) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{_one_line(self.message)}; {_one_line(self.hint)}"

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with ``args`` alone, and so lose ``retryable`` where a
        # tool pickles the exception to send it from a worker process.
        return _rebuild, (type(self), self.message, self.hint, self.retryable)

    def to_json(self) -> dict[str, Any]:
        """The error as JSON values, for the other end of a connection."""
        return {"message": self.message, "hint": self.hint, "retryable": self.retryable}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PipelineError:
        """The inverse of ``to_json``."""
        return cls(values["message"], values["hint"], retryable=values["retryable"])


def is_retryable(error: BaseException) -> bool:
    """Whether another attempt may succeed: the one rule for the retries of every tool.

    A failed test or a refused schema fails again; an error that nobody foresaw may not.
    """
    if isinstance(error, PipelineError):
        return error.retryable
    return isinstance(error, Exception)  # not Ctrl+C, and not an exit


def _one_line(text: str) -> str:
    # A value from the data may hold a terminal's escape sequences, or characters that hide text.
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)


def _rebuild(kind: type[PipelineError], message: str, hint: str, retryable: bool) -> PipelineError:
    return kind(message, hint, retryable=retryable)
