"""The account of a run: every file found, and where it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from honeydew_ray.demo.measures import Measures


@dataclass(frozen=True, slots=True)
class PackageTotals:
    """The measures of a package's files, added up."""

    package: str
    files: int
    lines: int
    functions: int
    classes: int
    complexity: int
    hardest: str
    hardest_complexity: int


@dataclass(frozen=True, slots=True)
class Account:
    """What was found, what came back, and what did not."""

    found: Sequence[str]
    measured: Sequence[Measures]
    failed: Mapping[str, str] = field(default_factory=dict[str, str])  # file: why
    accidents: int = 0  # that happened on the way

    @property
    def analysed(self) -> int:
        """How many files were measured as Python."""
        return sum(measures.parsed for measures in self.measured)

    @property
    def counted(self) -> int:
        """How many files are not valid Python and had their lines counted."""
        return len(self.measured) - self.analysed

    @property
    def processes(self) -> int:
        """How many processes had a part in it."""
        return len({measures.process for measures in self.measured})

    @property
    def missing(self) -> list[str]:
        """Files that neither came back nor failed."""
        return sorted(set(self.found) - {measures.file for measures in self.measured} - set(self.failed))

    @property
    def balances(self) -> bool:
        """Whether every file found was measured, once."""
        return sorted(self.found) == sorted(measures.file for measures in self.measured)


def by_package(measured: Iterable[Measures]) -> list[PackageTotals]:
    """The totals of each package, the one with the most lines first."""
    packages: dict[str, list[Measures]] = {}
    for measures in measured:
        packages.setdefault(measures.package, []).append(measures)
    return sorted((totals(name, files) for name, files in packages.items()), key=lambda one: (-one.lines, one.package))


def totals(name: str, files: Sequence[Measures]) -> PackageTotals:
    """The sums over some files, under a name of their own."""
    hardest = max(files, key=lambda measures: measures.hardest_complexity, default=Measures("", 0))
    return PackageTotals(
        package=name,
        files=len(files),
        lines=sum(measures.lines for measures in files),
        functions=sum(measures.functions for measures in files),
        classes=sum(measures.classes for measures in files),
        complexity=sum(measures.complexity for measures in files),
        hardest=hardest.hardest,
        hardest_complexity=hardest.hardest_complexity,
    )
