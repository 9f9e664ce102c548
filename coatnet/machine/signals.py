"""Ctrl-C and SIGTERM, put off until the work under way is in order."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT while open, so that the step under way ends first; a second one ends at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    former: dict[int, Any] = {}

    def remember(number: int, _: object) -> None:
        received.append(number)
        signal.signal(number, former[number])

    for caught in (signal.SIGTERM, signal.SIGINT):
        former[caught] = signal.signal(caught, remember)
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
