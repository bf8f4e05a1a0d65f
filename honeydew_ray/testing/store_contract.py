"""The contract of a store, as tests."""

from __future__ import annotations

from honeydew_ray.testing.store_rules.cancel import CancelRules
from honeydew_ray.testing.store_rules.enqueue import EnqueueRules
from honeydew_ray.testing.store_rules.outcomes import OutcomeRules
from honeydew_ray.testing.store_rules.page import PageRules
from honeydew_ray.testing.store_rules.reopen import ReopenRules
from honeydew_ray.testing.store_rules.reserve import ReserveRules


class StoreContract(EnqueueRules, ReserveRules, OutcomeRules, CancelRules, PageRules, ReopenRules):
    """Subclass it in a test module, say how to make your store, and run pytest::

        class TestMyStore(StoreContract):
            def make_store(self, directory):
                return MyStore(directory / "jobs.db")

    The store is made with a directory of its own and not yet opened. If it is durable, a second one
    made with the same directory must find the jobs of the first, which was closed before. A store
    that keeps its jobs elsewhere may use the directory's name; one that is not durable ignores it.
    """
