"""A running server, attacked over the network: files, logins, uploads, inputs."""

import http.client
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studio.web.access import Access, prepare
from studio.web.components.drop import received
from studio.web.visitors import Visitors
from worldmodel.errors import BadRequest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of gradio's own dependencies
PASSWORD = "three plain words"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A small page, served with the studio's own options.

    Attributes:
        port: On this machine.
        served: The folder whose files are given out.
        secret: A file of one visitor.
    """

    port: int
    served: Path
    secret: Path

    def ask(
        self, path: str, body: bytes | None = None, *, method: str = "", **headers: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Status, body and headers; the path is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.putrequest(method or ("GET" if body is None else "POST"), path, skip_host="host" in named)
            for name, value in named.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def call(self, data: list[Any], **headers: str) -> str:
        """What the page's function answers, as the queue tells it."""
        headers = {"content_type": "application/json", **headers}
        status, body, _ = self.ask("/gradio_api/call/echo", json.dumps({"data": data}).encode(), **headers)
        if status != 200:
            return f"{status} {body.decode()}"
        event = json.loads(body)["event_id"]
        return self.ask(f"/gradio_api/call/echo/{event}", **headers)[1].decode()

    def log_in(self, user: str = "ann", password: str = PASSWORD) -> tuple[int, str]:
        """Status, and the cookie."""
        form = f"username={user}&password={password.replace(' ', '+')}".encode()
        status, _, headers = self.ask("/login", form, content_type="application/x-www-form-urlencoded")
        return status, "; ".join(value.split(";")[0] for value in headers.get_all("set-cookie") or [])


def served_with(access: Access, visitors: Visitors) -> Iterator[Server]:
    import gradio as gr

    served = visitors.root / "served"
    before = dict(os.environ)
    prepare(served)
    secret = visitors.folder("ann") / "drive.mp4"
    secret.write_bytes(b"ann's drive")

    def echo(text: str, anything: Any) -> tuple[Any, Any]:
        return text, anything

    with gr.Blocks(analytics_enabled=False) as page:
        inputs = [gr.Textbox(), gr.JSON()]
        outputs = [gr.Textbox(), gr.JSON()]
        gr.Button().click(echo, inputs, outputs, api_name="echo")
    page.queue().launch(prevent_thread_lock=True, quiet=True, **access.launch_options(served))
    try:
        yield Server(port=page.server_port, served=served, secret=secret)
    finally:
        page.close()
        visitors.close_all()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def open_server() -> Iterator[Server]:
    yield from served_with(Access(max_upload_mb=1), Visitors())


@pytest.fixture(scope="module")
def locked_server() -> Iterator[Server]:
    yield from served_with(Access(max_upload_mb=1, accounts={"ann": PASSWORD}), Visitors())


def form(*files: tuple[str, bytes]) -> tuple[bytes, str]:
    parts = [
        b'--line\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode() + b'"\r\n\r\n' + content
        for name, content in files
    ]
    return b"\r\n".join([*parts, b"--line--\r\n"]), "multipart/form-data; boundary=line"


def test_it_listens_on_this_machine_only(open_server: Server) -> None:
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address, open_server.port)) != 0


def test_files_are_given_out_from_one_folder_only(open_server: Server) -> None:
    body, kind = form(("mine.csv", b"t\n0\n"))
    status, answer, _ = open_server.ask("/gradio_api/upload", body, content_type=kind)
    mine = json.loads(answer)[0]
    assert status == 200
    assert open_server.ask(f"/gradio_api/file={mine}")[:2] == (200, b"t\n0\n")
    (open_server.served / "door").symlink_to("/etc")
    (open_server.served / "window.txt").symlink_to("/etc/passwd")
    up = "../" * 12
    for name in (
        "/etc/passwd", "%2Fetc%2Fpasswd", "%252Fetc%252Fpasswd", f"{up}etc/passwd", f"{up.replace('/', '%2F')}etc%2Fpasswd",
        f"{open_server.served}/{up}etc/passwd", f"{mine}/../../../{open_server.secret.parent.name}/drive.mp4",
        str(open_server.secret), f"{open_server.served}/door/passwd", f"{open_server.served}/window.txt", "/proc/self/environ",
        "/proc/self/cwd/pyproject.toml", "pyproject.toml", f"{os.getcwd()}/app.py", f"{os.getcwd()}/.git/config", "~/.bashrc",
        "http://127.0.0.1:1/x", "file:///etc/passwd", "%5C%5Chost%5Cshare", f"{mine}%00/etc/passwd", str(open_server.served),
    ):  # fmt: skip
        for route in ("/gradio_api/file=", "/gradio_api/file/"):
            status, answer, _ = open_server.ask(route + name)
            assert status in (403, 404), name
            assert b"root:" not in answer
            assert b"ann's" not in answer
    for path in ("/static/../../../../etc/passwd", "/assets/..%2f..%2f..%2fblocks.py", "/svelte/..%2f..%2froutes.py"):
        status, answer, _ = open_server.ask(path)
        assert status in (403, 404), path


def test_inputs_that_pretend_to_be_files_reach_none(open_server: Server) -> None:
    before = {path for path in open_server.served.rglob("*") if path.is_file()}
    for path in ("/etc/passwd", str(open_server.secret), "pyproject.toml", "http://127.0.0.1:1/x"):
        answer = open_server.call(["hello", {"path": path, "meta": {"_type": "gradio.FileData"}}])
        assert "error" in answer or answer.startswith("400")
        assert "root:" not in answer
    assert {path for path in open_server.served.rglob("*") if path.is_file()} == before
    assert "hello" in open_server.call(["hello", {"plain": 1}])


def test_other_sites_and_names_get_nothing(open_server: Server) -> None:
    own = f"127.0.0.1:{open_server.port}"
    assert open_server.ask("/config", origin=f"http://{own}")[0] == 200
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"host": "evil.example"}):
        status, answer, _ = open_server.ask("/config", **headers)
        assert status == 403
        assert b"components" not in answer


def test_too_large_uploads_are_refused_and_leave_nothing(open_server: Server) -> None:
    before = set(open_server.served.iterdir())
    several, kind = form(*((f"{i}.mp4", bytes(300_000)) for i in range(4)))
    status, answer, _ = open_server.ask("/gradio_api/upload", several, content_type=kind)
    assert (status, b"maximum allowed size of 1 MB" in answer) == (413, True)
    pieces = [several[at : at + 100_000] for at in range(0, len(several), 100_000)]
    chunked = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as raw:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{open_server.port}\r\nContent-Type: {kind}\r\n"
        raw.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunked)
        assert b" 413 " in raw.recv(1000)
    assert set(open_server.served.iterdir()) == before


def test_a_dropped_files_name_is_not_believed(open_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    body, kind = form(("../../../up.csv", b"t\n"), ("<img src=x onerror=alert(1)>.csv", b"u\n"))
    paths = json.loads(open_server.ask("/gradio_api/upload", body, content_type=kind)[1])
    assert all(Path(path).parent.parent == open_server.served for path in paths)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(open_server.served))
    assert [file.name for file in received({"files": [{"name": "a/up.csv", "path": paths[0]}]})] == ["a/up.csv"]
    for path in (
        "/etc/passwd",
        str(open_server.secret),
        f"{paths[0]}/../../../x/y",
        "",
        "a\0b",
        None,
        3,
        str(open_server.served),
    ):
        with pytest.raises(BadRequest, match="not sent just now"):
            received({"files": [{"name": "a.mp4", "path": path}]})
    assert received(None) == received({"files": "x"}) == []


def test_without_the_password_nothing_is_given_away(locked_server: Server) -> None:
    body, kind = form(("mine.csv", b"t\n"))
    join = json.dumps({"data": ["x", {}], "fn_index": 0, "session_hash": "abc"}).encode()
    guarded: list[tuple[str, bytes | None, str]] = [
        ("/config", None, ""),
        ("/gradio_api/info", None, ""),
        ("/gradio_api/openapi.json", None, ""),
        ("/gradio_api/queue/data?session_hash=abc", None, ""),
        ("/gradio_api/queue/status", None, ""),
        (f"/gradio_api/file={locked_server.served}/x", None, ""),
        ("/gradio_api/queue/join", join, "application/json"),
        ("/gradio_api/call/echo", join, "application/json"),
        ("/gradio_api/call/v2/echo", join, "application/json"),
        ("/gradio_api/run/echo", join, "application/json"),
        ("/gradio_api/api/echo", join, "application/json"),
        ("/gradio_api/component_server", join, "application/json"),
        ("/gradio_api/upload", body, kind),
    ]
    for path, content, what in guarded:
        status, answer, _ = locked_server.ask(path, content, **({"content_type": what} if what else {}))
        assert status == 401, (path, status, answer[:200])
    front = locked_server.ask("/")[1]
    assert b"auth_required" in front
    assert b"echo" not in front
    assert not any(path.is_file() for path in locked_server.served.rglob("*"))


def test_the_password_opens_and_a_wrong_one_does_not(locked_server: Server) -> None:
    assert locked_server.log_in(password="three plain word")[0] == 400
    assert locked_server.log_in(user="eve")[0] == 400
    assert locked_server.log_in(password="")[0] in (400, 422)
    status, cookie = locked_server.log_in()
    assert status == 200
    assert locked_server.ask("/config", cookie=cookie)[0] == 200
    assert "hello" in locked_server.call(["hello", {}], cookie=cookie)
    assert locked_server.ask("/config", cookie=cookie, origin="https://evil.example")[0] == 403
    assert locked_server.ask("/config", cookie=cookie.replace("=", "=x"))[0] == 401


def test_the_python_client_works_with_the_password_only(locked_server: Server) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AuthenticationError

    address = f"http://127.0.0.1:{locked_server.port}"
    with pytest.raises((AuthenticationError, ValueError)):
        Client(address, verbose=False, analytics_enabled=False)
    client = Client(address, auth=("ann", PASSWORD), verbose=False, analytics_enabled=False)
    assert client.predict("hello", {"plain": 1}, api_name="/echo") == ("hello", {"plain": 1})
