"""The notebooks run from top to bottom in a clean kernel, and what is committed with them is what they say."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from honeydew_ray.actors import cluster
from tests.cluster.scripts import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq", "ignore::ResourceWarning")

FOLDER = ROOT / "notebooks"
SAYS = {
    "quickstart": ["colour print 1", "'colour print 2'", "40/40 jobs", "10/10 jobs, 1 failed", "ValueError: this one is blurred",
                   r"\(WorkerActor pid=\d+\).* hello from a worker", "queue quickstart", "'colour print 13, retouched'"],
    "digits": ["100/100 jobs", r"9\d\.\d% of 797 images right", "held-out digits"],
    "failures": ["10/10 jobs, 1 failed", "3-kill +done +attempts: 2 +signal: ", "5-exit +done +attempts: 2 +exit: ",
                 "6-segfault +done +attempts: 2 +signal: ",
                 "9-hang +done +attempts: 2 +timeout: ", "8-broken +moved +attempts: 3 +exception: RuntimeError", "Timeline of failures"],
    "plug_ins": ["flaky answered at attempt 3", "LookupError: it is in the queue 'plug-ins-unreachable' now",
                 "refused: 4 jobs are here already", "4/4 jobs"],
    "poll_queue": ["honeydew_classify-photos_lock", "1 pending, 0 delayed, 0 in progress, 1 abandoned",
                   "49 photos classified, 47 of them right", "dead: row 1000, ValueError", "shown at last: 8; mended: 3"],
}  # fmt: skip


def refresh() -> Any:
    """The script that writes the outputs of the notebooks, which runs them as this test does."""
    spec = importlib.util.spec_from_file_location("refresh", FOLDER / "refresh.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said(book: Any) -> str:
    """All that a notebook shows beside its cells, as text."""
    return "\n".join(_texts(book))


def _texts(book: Any) -> Iterator[str]:
    for cell in book.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            yield output.get("text", "") + "\n" + data.get("text/plain", "") + "\n" + data.get("text/html", "")
        if cell.cell_type == "code" and "plt.title" in cell.source:
            yield cell.source if any("image/png" in output.get("data", {}) for output in cell.outputs) else ""


@pytest.mark.parametrize("name", SAYS)
def test_the_notebook_runs_from_top_to_bottom(name: str, ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the client's own making
        book = refresh().run(FOLDER / f"{name}.ipynb", timeout_s=60)
    text = said(book)
    for line in SAYS[name]:
        assert re.search(line, text), f"not said: {line}\n{text}"


@pytest.mark.parametrize("name", SAYS)
def test_the_committed_outputs_are_of_such_a_run(name: str) -> None:
    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run notebooks/refresh.py"
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    text = said(book)
    for line in SAYS[name]:
        assert re.search(line, text), f"not said: {line}"
    assert str(Path.home()) not in text and str(ROOT) not in text


def test_every_notebook_has_a_test() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == SAYS.keys()


INTERRUPTED = """
import time, honeydew_ray as honeydew
queue = honeydew.start_queue("interrupted-cell")
queue.start_workers(num=1)
job = queue.options(job_id="long").submit(time.sleep, 3)
while job.state != "in_progress":
    time.sleep(0.01)
print("it runs")
job.result()
"""


def test_interrupting_a_cell_leaves_its_job_running(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("RAY_ADDRESS", cluster.address())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manager, client = start_new_kernel(kernel_name="python3")
        try:
            errors: list[str] = []
            printed: list[str] = []

            def hear(message: Any) -> None:
                content = message["content"]
                printed.append(content.get("text", ""))
                errors.append(f"{content.get('ename')}: {content.get('evalue')}")
                if "it runs" in content.get("text", ""):
                    manager.interrupt_kernel()

            client.execute_interactive(INTERRUPTED, timeout=60, output_hook=hear)
            again = 'honeydew.get_queue("interrupted-cell").job(\'long\')'
            expected = f"KeyboardInterrupt: job long of queue 'interrupted-cell' goes on; {again} finds it again"
            assert expected in errors, (errors, printed)
            client.execute_interactive(f"print({again}.state); queue.stop()", timeout=60, output_hook=hear)
            assert "in_progress" in "".join(printed)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
