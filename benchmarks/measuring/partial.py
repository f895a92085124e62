"""The samples so far, written to disk one by one, so that a measurement can be continued."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ecommerce_pipeline.files.atomic import atomic_file
from measuring.plan import Values


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement; ``failure`` is why there are no values."""

    round: int
    values: Values
    failure: str | None = None


@dataclass(slots=True)
class Partial:
    """The samples by case and variant, stored in a file.

    Attributes:
        file: where they are.
        identity: what was measured on what; samples of another identity are not mixed in.
        samples: the samples, in the order of their rounds.
        versions: by variant, of its packages.
        notes: by case and variant, what a session found out beside numbers.
    """

    file: Path
    identity: Mapping[str, Any]
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def open(
        cls, file: Path, identity: Mapping[str, Any], say: Callable[[str], None], *, fresh: bool
    ) -> Partial:
        """Continue with the file's samples; with another identity, set it aside and start again."""
        partial = cls(file, identity)
        if fresh or not file.exists():
            return partial
        values = json.loads(file.read_text())
        if changed := _differing(values["identity"], identity):
            kept = file.replace(file.with_suffix(".earlier.json"))
            say(f"starting again, as {changed} changed since {kept} was measured")
            return partial
        partial._read(values)
        say(f"continuing after {sum(map(len, partial.samples.values()))} samples of {file}")
        return partial

    def has(self, case: str, variant: str, number: int) -> bool:
        """Whether the round's sample was taken."""
        return any(sample.round == number for sample in self.of(case, variant))

    def of(self, case: str, variant: str) -> list[Sample]:
        """The samples so far."""
        return self.samples.get((case, variant), [])

    def add(self, case: str, variant: str, sample: Sample) -> None:
        """Store a sample; it is on disk before this returns."""
        self.samples.setdefault((case, variant), []).append(sample)
        with atomic_file(self.file) as temporary:
            temporary.write_text(json.dumps(dict(self._values()), indent=1))

    def _values(self) -> Iterator[tuple[str, Any]]:
        yield "identity", self.identity
        yield "versions", self.versions
        yield "notes", self.notes
        yield (
            "samples",
            [
                {"case": case, "variant": variant, **asdict(sample)}
                for (case, variant), samples in self.samples.items()
                for sample in samples
            ],
        )

    def _read(self, values: Mapping[str, Any]) -> None:
        self.versions, self.notes = values["versions"], values["notes"]
        for sample in values["samples"]:
            key = sample.pop("case"), sample.pop("variant")
            self.samples.setdefault(key, []).append(Sample(**sample))


def _differing(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The names of the entries that differ."""
    return ", ".join(sorted(k for k in {*earlier, *now} if earlier.get(k) != now.get(k)))
