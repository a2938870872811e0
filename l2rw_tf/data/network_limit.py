"""A limit on how long code that downloads may wait for the network."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def network_limit(seconds: float) -> Iterator[None]:
    """Ends every attempt at the network in this scope after some seconds without a byte.

    TFDS downloads through `requests` without a timeout and with ten tries, so that a network that
    swallows packets would hold it for many minutes. In this scope each request is tried once, the
    time up to its answer (name lookup, every address, handshake) is limited as a whole, and so is
    every wait for more of the body. FTP goes through `urllib`, which the default timeout of sockets
    limits.

    Args:
        seconds: The limit.

    Yields:
        Nothing; what fails, fails as an exception of `requests` or `urllib`.
    """
    import requests

    original = requests.adapters.HTTPAdapter.send
    answers = []

    @functools.wraps(original)
    def send(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        adapter.max_retries = requests.adapters.Retry(0, read=False)
        kwargs["timeout"] = (seconds, seconds)
        answer = _within(seconds, functools.partial(original, adapter, request, *args, **kwargs))
        if answer is None:
            raise requests.ConnectTimeout(f"no answer within {seconds:g} seconds", request=request)
        answers.append(answer)
        return answer

    socket_timeout = socket.getdefaulttimeout()
    requests.adapters.HTTPAdapter.send = send
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        requests.adapters.HTTPAdapter.send = original
        socket.setdefaulttimeout(socket_timeout)
        # A download that failed leaves the other files of its data set under way in other threads.
        for answer in answers:
            answer.close()


def _within(seconds: float, function: Any) -> Any:
    """Returns what the function returns, or None where it takes longer; raises what it raises."""
    outcome = {}

    def call() -> None:
        try:
            outcome["value"] = function()
        except Exception as error:
            outcome["error"] = error

    # A name lookup cannot be interrupted; a daemon thread can be left behind.
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if "error" in outcome:
        raise outcome["error"]
    return outcome.get("value")
