"""Contract tests decide without Ray, as unit tests do."""

from tests.unit.conftest import no_ray

__all__ = ["no_ray"]
