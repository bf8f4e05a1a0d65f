"""For those who write plug-ins, and for the tests of those who use the queue. Needs pytest."""

import pytest

pytest.register_assert_rewrite(  # so that a broken promise shows the values, as in any test module
    "honeydew_ray.testing.store_rules",
    "honeydew_ray.testing.store_driver",
    "honeydew_ray.testing.dispatcher_contract",
    "honeydew_ray.testing.failure_mode_contract",
    "honeydew_ray.testing.success_mode_contract",
)

from honeydew_ray.testing.dispatcher_contract import DispatcherContract  # noqa: E402
from honeydew_ray.testing.failure_mode_contract import FailureModeContract  # noqa: E402
from honeydew_ray.testing.inline import Inline  # noqa: E402
from honeydew_ray.testing.inline_queue import InlineQueue  # noqa: E402
from honeydew_ray.testing.jobs import make_job  # noqa: E402
from honeydew_ray.testing.scripted import ScriptedWorkers, scripted_payload  # noqa: E402
from honeydew_ray.testing.store_contract import StoreContract  # noqa: E402
from honeydew_ray.testing.store_driver import StoreDriver  # noqa: E402
from honeydew_ray.testing.success_mode_contract import SuccessModeContract  # noqa: E402
from honeydew_ray.testing.virtual_time import DeadlockError, VirtualClock, run_virtual, settle  # noqa: E402

__all__ = [
    "DeadlockError", "DispatcherContract", "FailureModeContract", "Inline", "InlineQueue",
    "ScriptedWorkers", "StoreContract", "StoreDriver",
    "SuccessModeContract", "VirtualClock", "make_job", "run_virtual", "scripted_payload", "settle",
]
