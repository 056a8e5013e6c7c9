"""A real S3 server on this machine, and a proxy before it that fails at random: refuses, forgets to answer, cuts, stalls."""

import http.client
import logging
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUCKET = "a-bucket"
FAULTS = ("refused", "failed after all", "dropped", "dropped after all", "cut", "refused", "dropped", "cut", "stalled")
STALL_S = 1.5
READ_TIMEOUT_S = 1.0
HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


class FlakyProxy(ThreadingHTTPServer):
    """Hands requests on to a server, and fails with a share of them.

    Attributes:
        share: Of the requests that fail; may be changed at any time.
        kinds: Of what goes wrong.
        faults: How many of each kind there were.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behind: tuple[str, int], seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.share, self.kinds, self.faults = behind, 0.0, FAULTS, Counter[str]()
        self._dice, self._lock = random.Random(seed), threading.Lock()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def draw(self) -> str:
        """What goes wrong with the next request; '' for nothing."""
        with self._lock:
            fault = self._dice.choice(self.kinds) if self._dice.random() < self.share else ""
            self.faults[fault] += 1
        return fault

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that went away are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FlakyProxy

    def _go(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.draw()
        if fault == "dropped":
            return self._hang_up()
        if fault == "refused":
            return self._answer(503, _error("SlowDown", "Please reduce your request rate."), {})
        status, headers, answer = self._behind(body)
        if fault == "failed after all":
            return self._answer(500, _error("InternalError", "We encountered an internal error."), {})
        if fault == "dropped after all":
            return self._hang_up()
        if fault == "stalled":
            time.sleep(STALL_S)
        return self._answer(status, answer, headers, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _go

    def _behind(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        server = http.client.HTTPConnection(*self.server.behind, timeout=20)
        try:
            server.request(self.command, self.path, body=body, headers=asked)
            answer = server.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            server.close()

    def _answer(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def _error(code: str, words: str) -> bytes:
    return (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{words}</Message></Error>".encode()
    )


@contextmanager
def flaky_s3(seed: int = 0) -> Iterator[FlakyProxy]:
    """A server with an empty bucket, behind a proxy that does not fail yet."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = FlakyProxy(("127.0.0.1", server.get_host_and_port()[1]), seed)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        with _credentials():
            _make_bucket(proxy.behind)
            yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        server.stop()


def options_of(proxy: FlakyProxy) -> dict[str, Any]:
    """As `--storage` takes them; the client waits no longer than a test may."""
    times = {"read_timeout": READ_TIMEOUT_S, "connect_timeout": READ_TIMEOUT_S}
    return {"endpoint_url": proxy.url, "key": "a", "secret": "b", "config_kwargs": times}


@contextmanager
def _credentials() -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="us-east-1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _make_bucket(server: tuple[str, int]) -> None:
    connection = http.client.HTTPConnection(*server, timeout=20)
    connection.request(
        "PUT",
        f"/{BUCKET}",
        headers={"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"},
    )
    assert connection.getresponse().status == 200
    connection.close()
