"""The demo's workers."""

from __future__ import annotations

import os
from pathlib import Path

import honeydew_ray as honeydew
from honeydew_ray.demo.accidents import Accidents
from honeydew_ray.demo.measures import Measures, count_lines, measure


class Analyst:
    """Measures Python files. Its state is what it was started with: the library's place, and what shall go wrong."""

    def __init__(self, root: Path, accidents: Accidents) -> None:
        self.root = root
        self.accidents = accidents
        self.process = os.getpid()

    def analyse(self, file: str) -> Measures:
        """Measure one file, given by its path below the root. Raises ``SyntaxError`` if it is not valid Python."""
        honeydew.progress(file)
        self.accidents.befall(file)
        return measure(file, (self.root / file).read_bytes(), self.process)


class LineCounter:
    """Takes what no analyst could read, and counts its lines."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = os.getpid()

    def analyse(self, file: str) -> Measures:
        """Count the lines of one file, whatever it holds."""
        return Measures(file, count_lines((self.root / file).read_bytes()), process=self.process)
