from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.request

import pytest
import requests

from l2rw_tf.data.network_limit import network_limit

SECONDS = 0.2


@contextlib.contextmanager
def server(answer: bytes = b""):
    """A server on this machine that sends some bytes to every caller and then nothing more."""
    listening = socket.create_server(("127.0.0.1", 0))
    callers = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listening.accept()
                callers.append(caller)
                caller.recv(65536)
                caller.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}", callers
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for caller in callers:
            caller.close()
        thread.join()


def test_a_server_that_never_answers_is_given_up_and_not_tried_again():
    with server() as (host, callers), network_limit(SECONDS):
        with requests.Session() as session, pytest.raises(requests.Timeout):
            session.get(f"http://{host}/")
        assert len(callers) == 1


def test_retries_that_the_caller_asked_for_are_left_out():
    with server() as (host, callers), network_limit(SECONDS):
        with requests.Session() as session:
            session.mount("http://", requests.adapters.HTTPAdapter(max_retries=10))
            with pytest.raises(requests.Timeout):
                session.get(f"http://{host}/", timeout=1000)
        assert len(callers) == 1


def test_a_body_that_stops_is_given_up():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    with server(answer) as (host, _), network_limit(SECONDS):
        with requests.Session() as session:
            response = session.get(f"http://{host}/", stream=True)
            with pytest.raises(requests.ConnectionError, match="timed out"):
                list(response.iter_content(10))


def test_a_name_lookup_that_hangs_is_given_up(monkeypatch):
    release = threading.Event()

    def hang(*_args, **_kwargs):
        release.wait()
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with network_limit(SECONDS), requests.Session() as session:
        with pytest.raises(requests.ConnectTimeout, match="no answer within 0.2 seconds"):
            session.get("http://name.invalid/")
    release.set()


def test_urllib_is_given_up_too():
    with server() as (host, _), network_limit(SECONDS), pytest.raises(TimeoutError):
        urllib.request.urlopen(f"http://{host}/")


def test_an_answer_gets_through_and_everything_is_as_before_afterwards():
    before = requests.adapters.HTTPAdapter.send
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    with server(answer) as (host, _):
        with network_limit(10), requests.Session() as session:
            assert session.get(f"http://{host}/").text == "hello"
        with contextlib.suppress(KeyError), network_limit(10):
            raise KeyError
    assert requests.adapters.HTTPAdapter.send is before
    assert socket.getdefaulttimeout() is None


def test_downloads_left_under_way_end_with_the_scope():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    with server(answer) as (host, _), requests.Session() as session:
        with network_limit(60):
            response = session.get(f"http://{host}/", stream=True)
        start = time.monotonic()
        assert response.raw.closed
        assert time.monotonic() - start < 10
