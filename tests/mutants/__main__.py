"""Shows what the unit tests let pass: plants small mistakes, one by one, in what decides, and prints those that no test notices.

``python -m tests.mutants [--jobs N] [PATH ...]``; without a path, the modules that ``[tool.mutmut]`` names. The exit status is 1 if one
survives that ``tests/MUTANTS.md`` does not explain, or if it explains one that does not survive.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

from tests.mutants.known import ROOT, TABLE, Mutant, misplaced, read

_SURVIVED = ("survived", "no tests")
_KILLED = ("killed", "caught by type check", "timeout", "segfault")


def results(path: Path) -> Iterator[tuple[Mutant, str]]:
    """The mutants of a module, and what became of each."""
    found = SourceFileMutationData(path=path)
    found.load()
    for name, code in found.exit_code_by_key.items():
        function, of_class = orig_function_and_class_names_from_key(name)
        function = function.rpartition(".")[2]
        diff = get_diff_for_mutant(name, path=path)
        yield Mutant.of_diff(str(path), f"{of_class}.{function}" if of_class else function, diff), status_by_exit_code[code]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="modules, relative to the top folder")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many mutants at a time")
    options = parser.parse_args()
    os.chdir(ROOT)
    shutil.rmtree("mutants", ignore_errors=True)  # else what has changed since would pass for tried
    bin = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "tests/mutants/engine.py", str(options.jobs), *options.paths]
    done = subprocess.run(command, env=environment, check=False)
    return done.returncode or account(options.paths)


def account(paths: list[str]) -> int:
    """Print what became of the mutants of the last run."""
    if paths:
        config().only_mutate = paths
    known = read(TABLE.read_text())
    unexplained: list[tuple[Mutant, str]] = []
    stale: list[Mutant] = []
    print(f"\n{'module':46} mutants  by tests  by types  survived  explained")
    for path in walk_mutatable_files():
        fates = list(results(path))
        count = Counter(fate for _, fate in fates)
        survivors = [(mutant, fate) for mutant, fate in fates if fate not in _KILLED]
        explained = [mutant for mutant, _ in survivors if mutant in known]
        unexplained += [(mutant, fate) for mutant, fate in survivors if mutant not in known]
        stale += [mutant for mutant in known if mutant.file == str(path) and mutant not in explained]
        by_tests = len(fates) - len(survivors) - count["caught by type check"]
        print(f"{path!s:46} {len(fates):7}  {by_tests:8}  {count['caught by type check']:8}  {len(survivors):8}  {len(explained):9}")
    for mutant, fate in unexplained:
        print(f"\n{fate.upper()}: {mutant}")
    for mutant in stale:
        print(f"\n{'THE CODE HAS CHANGED' if misplaced(mutant) else 'DOES NOT SURVIVE'}, take it out of tests/MUTANTS.md: {mutant}")
    return 1 if unexplained or stale else 0


if __name__ == "__main__":
    sys.exit(main())
