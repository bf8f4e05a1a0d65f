"""The pytest plugin's Ray, as a user's tests have it."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests.cluster.scripts import run_script


def test_a_ray_of_its_own_for_the_session(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(textwrap.dedent("""
        import math
        import honeydew_ray as honeydew

        def test_on_ray(honeydew_ray_cluster):
            queue = honeydew.start_queue("theirs")
            queue.start_workers(num=1)
            assert queue.submit(math.sqrt, 4).result(timeout=60) == 2
            queue.stop()
    """))
    finished = run_script("-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path, cwd=tmp_path)
    assert finished.code == 0, str(finished)
    assert "1 passed" in finished.output, str(finished)
