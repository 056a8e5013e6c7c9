"""Who may reach the studio, and what a request may ask for; the same against a running server: test_security_server.py."""

import asyncio
import json
import os
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from studio.web import access as access_module
from studio.web import guard as guard_module
from studio.web.access import Access, Door, accounts_of
from studio.web.guard import HEADERS, Guard
from worldmodel.errors import BadRequest

HOST = "127.0.0.1:7860"


def opened(**options: Any) -> Access:
    return Access.of(
        options.pop("host", "127.0.0.1"), options.pop("share", False), options.pop("auth", None), 200, options
    )


def test_by_default_only_this_machine_and_nothing_to_say() -> None:
    access = opened()
    assert access.local
    assert access.warning() == ""
    assert access.launch_options(Path("/tmp/none"))["server_name"] == "127.0.0.1"
    assert access.launch_options(Path("/tmp/none"))["share"] is False


@pytest.mark.parametrize("options", [{"host": "0.0.0.0"}, {"share": True}, {"host": "192.168.1.7"}])
def test_without_a_password_an_open_studio_says_loudly_what_is_exposed(options: dict[str, Any]) -> None:
    access = opened(**options)
    warning = access.warning()
    assert not access.local
    assert "WITHOUT A PASSWORD" in warning
    assert "processor" in warning
    assert "upload up to 200 MB" in warning
    assert "--auth" in warning
    assert all(line.startswith("!  ") for line in warning.splitlines())


def test_with_a_password_it_says_who_gets_in_and_that_the_way_is_not_encrypted() -> None:
    warning = opened(host="0.0.0.0", DETOUR_AUTH="ann:three plain words").warning()
    assert "with a password (ann)" in warning
    assert "WITHOUT" not in warning
    assert "three plain words" not in warning
    assert "https" in warning


def test_a_password_on_the_command_line_is_warned_about() -> None:
    assert "other users of this machine can read it" in opened(auth="ann:three plain words").warning()
    assert opened(DETOUR_AUTH="ann:three plain words").warning() == ""
    assert "three plain words" not in repr(opened(auth="ann:three plain words"))


@pytest.mark.parametrize(
    ("auth", "sentence"),
    [
        ("ann", "no USER:PASSWORD"),
        ("ann:short", "has 5 characters; .* at least 10. Choose a longer one"),
        (":three plain words", "needs a name"),
        ("@/nowhere/login", "cannot be read"),
    ],
)
def test_a_weak_or_unreadable_login_is_refused(auth: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        opened(host="0.0.0.0", auth=auth)


def test_logins_come_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text("ann:three plain words\n\nbob:with: a colon in it\n")
    file.chmod(0o644)
    with pytest.raises(BadRequest, match="chmod 600"):
        accounts_of(f"@{file}")
    file.chmod(0o600)
    assert accounts_of(f"@{file}") == {"ann": "three plain words", "bob": "with: a colon in it"}
    file.write_text("\n")
    with pytest.raises(BadRequest, match="is empty"):
        accounts_of(f"@{file}")


def test_the_size_of_uploads_is_set_within_reason() -> None:
    assert Access(max_upload_mb=50).limits.upload_bytes == 50_000_000
    assert Access(max_upload_mb=1000).limits.kept_bytes == 2_000_000_000
    with pytest.raises(BadRequest, match="between 1 and 10000 MB"):
        Access(max_upload_mb=0)


def test_what_the_environment_says_opens_nothing_and_the_password_goes_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*access_module.UNWANTED, access_module.VARIABLE, "GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "/")
    access_module.prepare(tmp_path / "served")
    assert not set(os.environ) & {*access_module.UNWANTED, access_module.VARIABLE}
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path / "served")
    assert (tmp_path / "served").stat().st_mode & 0o077 == 0


def test_wrong_passwords_wait_and_a_crowd_of_them_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "WRONG_S", 0.05)
    door = Door({"ann": "three plain words"})

    async def story() -> tuple[list[bool], bool, bool]:
        wrong = [asyncio.create_task(door.admits(user, "guess")) for user in ["ann", "eve", "", "ann"] * 2]
        await asyncio.sleep(0)
        in_the_crowd = await door.admits("ann", "three plain words")
        return await asyncio.gather(*wrong), in_the_crowd, await door.admits("ann", "three plain words")

    refused, in_the_crowd, later = asyncio.run(story())
    assert not any(refused)
    assert not in_the_crowd
    assert later
    assert not asyncio.run(door.admits("ann", "thrée plain words"))


@pytest.mark.parametrize(
    ("options", "known", "unknown"),
    [
        ({}, ["127.0.0.1", "localhost", "::1"], ["evil.example", "192.168.1.7", "x.gradio.live", ""]),
        ({"host": "0.0.0.0"}, ["127.0.0.1", "192.168.1.7", "::1"], ["evil.example", "x.gradio.live"]),
        ({"share": True}, ["localhost", "abc.gradio.live"], ["evil.example", "gradio.live.evil.example"]),
        ({"host": "0.0.0.0", "DETOUR_AUTH": "ann:three plain words"}, ["studio.example"], []),
    ],
)
def test_names_that_lead_here_by_a_trick_are_not_answered(
    options: dict[str, Any], known: list[str], unknown: list[str]
) -> None:
    access = opened(**options)
    assert all(access.knows_host(name) for name in known)
    assert not any(access.knows_host(name) for name in unknown)


async def everything(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """An application that takes every request and answers with its length."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


def asked(
    served: Path, path: str, *, method: str = "GET", body: Iterable[bytes] = (b"",), most: int = 1000, **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of the answer to one request through a guard."""
    guard = Guard(everything, served=served, known_host=opened().knows_host, most_upload=most)
    given = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http", "method": method, "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    pieces = list(body)
    answer: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        answer.append(message)

    asyncio.run(guard(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in answer[0]["headers"]}
    return answer[0]["status"], answer[1]["body"].decode(), found


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    (folder / "a1").mkdir(parents=True)
    (folder / "a1" / "film.mp4").write_bytes(b"film")
    (folder / "a1" / "way out").symlink_to("/etc")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "theirs.mp4").write_bytes(b"theirs")
    return folder


def test_a_page_and_a_file_of_its_own_are_answered_with_careful_headers(served: Path) -> None:
    status, _, headers = asked(served, "/")
    assert status == 200
    assert headers.items() >= HEADERS.items()
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"].replace("https", "")
    assert asked(served, f"/gradio_api/file={served}/a1/film.mp4", origin=f"http://{HOST}")[0] == 200


@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd", "../../../../../../etc/passwd", "{served}/../other/theirs.mp4", "{served}/a1/../../other/theirs.mp4",
        "{served}/a1/way out/passwd", "/proc/self/environ", "README.md", "./app.py", "{repo}/pyproject.toml", "~/.ssh/id_rsa",
        "http://example.com/x.mp4", "HTTPS://example.com/x", "file:///etc/passwd", "ftp://example.com/x", "{served}\0/etc/passwd",
        "//etc/passwd", "\\\\server\\share\\x",
    ],
)  # fmt: skip
def test_no_other_file_is_given_out(file: str, served: Path) -> None:
    file = file.replace("{served}", str(served)).replace("{repo}", os.getcwd())
    for route in ("/gradio_api/file=", "/gradio_api/file/"):
        status, text, _ = asked(served, route + file)
        assert (status, "Only files that the studio made" in text) == (403, True)


@pytest.mark.parametrize("page", guard_module.CLOSED)
def test_pages_of_gradio_that_nobody_needs_are_closed(page: str, served: Path) -> None:
    assert asked(served, f"{page}x")[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://[broken"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "http://127.0.0.1:7860.evil.example"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:7860"},
        {"host": ""},
        {"host": "[::1"},
    ],
)
def test_other_sites_and_other_names_are_refused(headers: dict[str, str], served: Path) -> None:
    status, text, _ = asked(served, "/config", **headers)
    assert status == 403
    assert "docs/security.md" in text


def test_a_link_from_another_site_still_opens_the_page(served: Path) -> None:
    assert asked(served, "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200


def test_bodies_and_uploads_are_limited_whether_they_say_their_size_or_not(served: Path) -> None:
    from starlette.formparsers import MultiPartException

    join, upload = "/gradio_api/queue/join", "/gradio_api/upload"
    assert asked(served, join, method="POST", body=[b"x" * 500_000] * 8)[:2] == (200, "4000000")
    assert asked(served, join, method="POST", body=[b"x" * 500_000] * 9)[0] == 413
    assert asked(served, join, method="POST", content_length="5000000")[0] == 413
    assert asked(served, upload, method="POST", body=[b"x" * 500] * 2)[:2] == (200, "1000")
    status, text, _ = asked(served, upload, method="POST", content_length="2000000", most=1_000_000)
    assert (status, "maximum allowed size of 1 MB" in text) == (413, True)
    with pytest.raises(MultiPartException, match="maximum allowed size"):  # Gradio then removes what it has stored
        asked(served, upload, method="POST", body=[b"x" * 500] * 3)
    (served / "full").write_bytes(bytes(20_000))
    assert asked(served, upload, method="POST", content_length="900")[0] == 507


def test_pieces_of_broken_uploads_are_removed_after_an_hour(served: Path) -> None:
    (served / "tmp1").write_bytes(bytes(100))
    (served / "tmp2").write_bytes(bytes(100))
    os.utime(served / "tmp1", (0, 0))
    os.utime(served / "a1" / "film.mp4", (0, 0))
    assert asked(served, "/gradio_api/upload", method="POST")[0] == 200
    assert sorted(path.name for path in served.iterdir()) == ["a1", "tmp2"]


@pytest.mark.parametrize("path", ["http://example.com/a.mp4", " HTTPS://169.254.169.254/", "http:\\\\example.com"])
def test_inputs_cannot_have_the_server_load_an_address(path: str, served: Path) -> None:
    body = json.dumps({"data": [1, {"deep": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}]}).encode()
    status, text, _ = asked(served, "/gradio_api/queue/join", method="POST", body=[body[:20], body[20:]])
    assert (status, "Upload the file itself" in text) == (400, True)
    assert asked(served, "/gradio_api/queue/join", method="POST", body=[b'{"data": ["http://example.com"]}'])[0] == 200


def test_web_sockets_are_not_answered(served: Path) -> None:
    async def fails(*_: Any) -> None:
        raise AssertionError("nothing may be received or sent")

    asyncio.run(Guard(fails, served=served)({"type": "websocket", "path": "/", "headers": []}, fails, fails))
