"""The one exception type that a user sees: one line naming the thing at fault and the mend."""

from __future__ import annotations


class PipelineError(Exception):
    """A failure whose cause is outside the code: bad input, a failed test, an unreachable source.

    Args:
        fault: what is wrong, naming the thing at fault; never contains a credential.
        mend: what the reader can do about it.
        retryable: True when trying again soon may succeed without anyone changing anything.
    """

    def __init__(self, fault: str, mend: str, *, retryable: bool = False) -> None:
        super().__init__(fault, mend)
        self.fault = fault
        self.mend = mend
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{_one_line(self.fault)}; {_one_line(self.mend)}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.fault, self.mend, self.retryable)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _rebuild(kind: type[PipelineError], fault: str, mend: str, retryable: bool) -> PipelineError:
    return kind(fault, mend, retryable=retryable)
