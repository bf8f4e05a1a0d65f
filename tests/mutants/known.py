"""The mutants that may survive, as ``tests/MUTANTS.md`` lists them, each with the reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests/MUTANTS.md"


@dataclass(frozen=True)
class Mutant:
    """In ``function`` of ``file``, ``old`` became ``new``: lines without their indentation."""

    file: str
    function: str  # "Class.method" or "function"
    old: str
    new: str

    @classmethod
    def of_diff(cls, file: str, function: str, diff: str) -> Mutant:
        """From the lines of a diff that begin with - or +."""
        lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
        old, new = ("\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
        return cls(file, function, old, new)

    def __str__(self) -> str:
        return "\n".join([f"{self.file} {self.function}", *("  -" + line for line in self.old.splitlines()),
                          *("  +" + line for line in self.new.splitlines())])


def read(text: str) -> dict[Mutant, str]:
    """Mutants and reasons. Raises `ValueError` for one without a reason, or one that is listed twice."""
    known: dict[Mutant, str] = {}
    file = ""
    for part in re.split(r"^(?=##)", text, flags=re.MULTILINE):
        if heading := re.match(r"## (\S+\.py)$", part, flags=re.MULTILINE):
            file = heading[1]
        function = re.match(r"### (\S+)$", part, flags=re.MULTILINE)
        blocks = re.split(r"^```(?:diff)?\n", part, flags=re.MULTILINE) if function else []
        for diffs, reason in zip(blocks[1::2], blocks[2::2], strict=True):
            for diff in re.split(r"\n\s*\n", diffs.strip()):
                mutant = Mutant.of_diff(file, function[1], diff)
                if mutant in known or not reason.strip():
                    raise ValueError(f"listed twice, or without a reason:\n{mutant}")
                known[mutant] = reason.strip()
    return known


def misplaced(mutant: Mutant, root: Path = ROOT) -> bool:
    """Whether the code that the mutant changed is not there any more."""
    lines = [line.strip() for line in (root / mutant.file).read_text().splitlines()]
    name = mutant.function.rpartition(".")[2]
    defined = any(re.match(rf"(async )?def {name}\(", line) for line in lines)
    return not defined or any(line not in lines for line in mutant.old.splitlines())
