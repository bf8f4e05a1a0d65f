"""A live view of a queue in a notebook."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from typing import Any

from honeydew_ray import cards
from honeydew_ray.rates import Looks
from honeydew_ray.status import QueueStatus

_ABSENT = "queue.watch() needs {name}, which is not installed: pip install 'honeydew-ray[notebook]'"
_FAREWELL_LOOKS = 3


class LiveView:
    """A view that looks at its queue again and again, in a thread of its own, until it is stopped or the queue is gone.

    Show it by making it the last line of a cell. A notebook that is saved keeps the last look.
    """

    def __init__(self, name: str, look: Callable[[], QueueStatus], interval_s: float, seconds: float | None = None) -> None:
        self._name = name
        self._look = look
        self._interval_s = interval_s
        self._until = None if seconds is None else time.monotonic() + seconds
        self._looks = Looks()
        self._ended = threading.Event()
        self._looking = threading.Lock()  # the last look must be the one that stays
        self.widget = self._make_widget()
        self._refresh()
        self._thread = threading.Thread(target=self._run, name=f"honeydew-watch-{name}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<LiveView of queue {self._name!r}, {'stopped' if self._ended.is_set() else 'live'}>"

    @property
    def html(self) -> str:
        """What it shows now."""
        return self._card.value

    def stop(self) -> None:
        """Look once more, and then no more; what is shown stays."""
        if not self._ended.is_set():
            self._end()
            self._refresh()

    def _end(self) -> None:
        self._ended.set()
        self._button.disabled = True

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has stopped, at most ``timeout`` seconds; whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and for those who cannot show widgets what it shows now."""
        bundle: Any = self.widget._repr_mimebundle_(**options)
        return {**bundle, "text/html": self.html, "text/plain": repr(self)}

    def _make_widget(self) -> Any:
        widgets = _widgets()
        self._card = widgets.HTML()
        self._button = widgets.Button(description="Stop watching", layout=widgets.Layout(width="130px"))
        self._button.on_click(self._pressed)
        return widgets.VBox([self._card, self._button])

    def _pressed(self, _: object) -> None:
        self.stop()

    def _run(self) -> None:
        failed = 0
        while not self._ended.wait(self._interval_s):
            failed = 0 if self._refresh() else failed + 1
            if failed >= _FAREWELL_LOOKS or (self._until is not None and time.monotonic() >= self._until):
                self._end()

    def _refresh(self) -> bool:
        """Look once; whether the queue answered."""
        with self._looking:
            try:
                status = self._look()
            except Exception as error:  # the queue is away or gone, and the view must say so, not end in a thread's traceback
                self._card.value = cards.gone_card(f"queue {self._name}", error).html
                return False
            self._card.value = cards.status_card(status, self._looks.add(time.monotonic(), status)).html
            return True


def _widgets() -> Any:
    try:
        return importlib.import_module("ipywidgets")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_ABSENT.format(name=error.name), name=error.name) from None
