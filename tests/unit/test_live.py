"""The live view and the progress bar, with looks that are acted out."""

from __future__ import annotations

import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from honeydew_ray.errors import QueueNotFound
from honeydew_ray.live import LiveView
from honeydew_ray.progress_bar import ProgressBar, with_bar
from honeydew_ray.status import QueueStatus


class Queue:
    """Answers looks from a script, and says when it has been looked at so often."""

    def __init__(self, *answers: QueueStatus | Exception) -> None:
        self.answers = list(answers)
        self.looked = threading.Semaphore(0)

    def look(self) -> QueueStatus:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.looked.release()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, looks: int) -> None:
        for _ in range(looks):
            assert self.looked.acquire(timeout=10)


def status(succeeded: int) -> QueueStatus:
    return QueueStatus("photos", 10 - succeeded, 0, 0, 0, False, "MemoryStore", succeeded=succeeded)


def test_the_view_follows_the_queue_until_it_is_stopped() -> None:
    queue = Queue(status(0), status(7))
    view = LiveView("photos", queue.look, 0.001)
    queue.wait(3)
    assert ">7<" in view.html and "jobs/s" in view.html and "depth" in view.html
    assert repr(view) == "<LiveView of queue 'photos', live>"
    view._button.click()
    assert view.join(10)
    assert repr(view) == "<LiveView of queue 'photos', stopped>"


def test_a_queue_that_is_gone_ends_the_view_which_says_so() -> None:
    view = LiveView("photos", Queue(QueueNotFound("queue <photos> is gone")).look, 0.001)
    assert view.join(10)
    assert "queue &lt;photos&gt; is gone" in view.html


def test_a_queue_that_was_away_for_a_moment_is_followed_on() -> None:
    queue = Queue(TimeoutError("away"), TimeoutError("away"), status(3))
    view = LiveView("photos", queue.look, 0.001)
    queue.wait(4)
    assert ">3<" in view.html
    view.stop()
    assert view.join(10)


def test_a_view_can_end_by_itself() -> None:
    assert LiveView("photos", Queue(status(1)).look, 0.001, seconds=0.01).join(10)


def test_those_who_cannot_show_widgets_see_the_last_look() -> None:
    view = LiveView("photos", Queue(status(1)).look, 60, seconds=0)
    bundle: Any = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == view.html
    view.stop()


def test_without_ipywidgets_the_view_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ModuleNotFoundError, match=r"honeydew-ray\[notebook\]"):
        LiveView("photos", Queue(status(1)).look, 1)


def test_the_bar_counts_and_writes_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("photos", 4) as bar:
        for well in (True, False, True):
            bar.ended(well)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("photos [                        ] 0/4 jobs")
    assert lines[-1].startswith("photos [##################      ] 3/4 jobs, 1 failed, ")
    assert " s to go" in lines[-1]
    assert len(lines) == 2  # it does not write a line for each job


def test_the_bar_of_a_terminal_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(with_bar("photos", iter("ab"), None)) == ["a", "b"]
    written = capsys.readouterr().err
    assert written.startswith("\rphotos [") and written.endswith("\n")
    assert written.count("\n") == 1
    assert "2 jobs, " in written.rpartition("\r")[2]


def test_the_bar_of_a_notebook_is_one_display_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    handle = SimpleNamespace(update=lambda markup: shown.append(markup._repr_html_()))

    def show(markup: Any, display_id: bool) -> Any:
        shown.append(markup._repr_html_())
        return handle

    display = ModuleType("IPython.display")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object())))
    monkeypatch.setattr(display, "display", show, raising=False)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with ProgressBar("<photos>", 2) as bar:
        bar.ended(True)
        bar.ended(False)
    assert len(shown) == 2
    assert shown[-1].startswith("&lt;photos&gt; ") and "2/2 jobs, 1 failed" in shown[-1]


def test_results_that_raise_end_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    def results() -> Any:
        yield 1
        raise RuntimeError("the second")

    seen = []
    with pytest.raises(RuntimeError, match="the second"):
        seen.extend(with_bar("photos", results(), 2))
    assert "1/2 jobs" in capsys.readouterr().err
