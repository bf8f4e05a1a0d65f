"""``tests/MUTANTS.md`` lists mutants of code that is there, each with a reason. ``make mutants`` shows that they are all that survive."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.known import TABLE, Mutant, misplaced, read

ENTRY = """\
# Mutants

## honeydew_ray/monitor.py

### JobMonitor.end

```diff
-return a(
-    b)
+return None

-c()
+pass
```
Nobody can tell.
"""


@pytest.mark.parametrize("mutant", read(TABLE.read_text()), ids=str)
def test_a_listed_mutant_changes_code_that_is_there(mutant: Mutant) -> None:
    assert not misplaced(mutant), "the code has changed: see by `make mutants` what survives now"


def test_an_entry_has_mutants_of_a_function_with_a_reason() -> None:
    known = read(ENTRY)
    assert set(known.values()) == {"Nobody can tell."}
    assert list(known) == [
        Mutant("honeydew_ray/monitor.py", "JobMonitor.end", "return a(\nb)", "return None"),
        Mutant("honeydew_ray/monitor.py", "JobMonitor.end", "c()", "pass"),
    ]


@pytest.mark.parametrize("text", [ENTRY + ENTRY, ENTRY.replace("Nobody can tell.", "")], ids=["twice", "no reason"])
def test_an_entry_without_a_reason_or_listed_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"listed twice, or without a reason:\nhoneydew_ray/monitor.py JobMonitor.end"):
        read(text)


def test_an_entry_about_code_that_has_changed_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def go():\n    return 1\n")
    assert not misplaced(Mutant("f.py", "C.go", "return 1", "return"), tmp_path)
    assert misplaced(Mutant("f.py", "C.go", "return 2", "return"), tmp_path)
    assert misplaced(Mutant("f.py", "C.gone", "return 1", "return"), tmp_path)
