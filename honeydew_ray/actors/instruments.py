"""Ray's own metrics, which it exports to Prometheus under names that begin with ``ray_``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray.util import metrics


class RayInstruments:
    """Makes instruments of this process. Cheap to use, and it never raises, without a metrics agent too."""

    def counter(self, name: str, description: str, tags: Sequence[str]) -> Any:
        """Something that only grows; exported with ``_total`` at the end of its name."""
        return metrics.Counter(name, description, tuple(tags))

    def gauge(self, name: str, description: str, tags: Sequence[str]) -> Any:
        """Something that goes up and down."""
        return metrics.Gauge(name, description, tuple(tags))

    def histogram(self, name: str, description: str, boundaries: Sequence[float], tags: Sequence[str]) -> Any:
        """How something is spread."""
        return metrics.Histogram(name, description, list(boundaries), tuple(tags))
