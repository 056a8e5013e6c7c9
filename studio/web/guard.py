"""What stands between the network and Gradio: every request is looked at before a route sees it.

Gradio's own defaults (6.31) were read and tried; this closes what they leave open for a studio:

- Other sites. Behind a public name Gradio answers requests of every other site with the visitor's cookie (its CORS rule
  guards only servers called localhost), and a server on 127.0.0.1 answers whatever name leads to it (DNS rebinding).
  Here the `Host` must be one of this machine's, and the `Origin` must be the `Host`.
- Files. Only what lies, links resolved, in the folder of this server's own files is given out.
- Fetching for others. `file=http://...`, `proxy=...` and inputs that name an address would have the server load it.
- Size. Gradio limits each file of an upload, not their number; here the whole request is limited, and how many arrive.
- Before the login. The page that asks for the password carries a description of every function; it is cut out.
- What the browser may do: load nothing from other hosts, be in no other site's frame (see HEADERS).
"""

import ipaddress
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

API = "/gradio_api"
FILES = (f"{API}/file=", f"{API}/file/")
UPLOAD = f"{API}/upload"
CLOSED = (
    f"{API}/proxy=", f"{API}/process_recording", f"{API}/deep_link", f"{API}/run-history", f"{API}/runs", f"{API}/vibe",
    f"{API}/undo-vibe", f"{API}/dev", f"{API}/profiling", f"{API}/mcp", "/monitoring", "/docs", "/redoc", "/openapi.json",
)  # fmt: skip
MOST_BODY = 4_000_000  # bytes of a request that is no upload
MOST_UPLOADS_AT_ONCE = 4
MOST_STORED = 10  # uploads of the largest size that may lie in the served folder together
LEFT_OVER_S = 3600.0  # a piece of an upload that broke off is removed after this

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-src 'self' data: blob:; frame-ancestors 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "SAMEORIGIN",
    "cross-origin-resource-policy": "same-origin",
    "x-robots-tag": "noindex, nofollow",
}
LOGIN_PAGE = b'"auth_required":true'
DESCRIPTION = re.compile(rb"window\.gradio_api_info = \{.*?\};</script>", re.DOTALL)
NO_DESCRIPTION = b'window.gradio_api_info = {"named_endpoints":{},"unnamed_endpoints":{}};</script>'


class Refused(Exception):
    """A request that goes no further; `status` is the HTTP code, the text a sentence for who sent it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Guard:
    """An ASGI middleware, for `FastAPI(middleware=[Middleware(Guard, ...)])`."""

    def __init__(
        self,
        app: App,
        *,
        served: Path,
        known_host: Callable[[str], bool] = lambda _: True,
        most_upload: int = 200_000_000,
    ) -> None:
        """Guard `app`.

        Args:
            app: What comes next.
            served: The only folder whose files are given out.
            known_host: Whether a name in `Host`, without its port, is one of this server's.
            most_upload: Bytes of one upload request.
        """
        self._app, self._served, self._known_host, self._most_upload = app, Path(served), known_host, most_upload
        self._uploads = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let the request through, or answer it with a sentence."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # nothing here speaks over web sockets
        sending = _with_headers(send)
        try:
            self._check(scope)
            if scope["method"] == "POST" and scope["path"].rstrip("/") == UPLOAD:
                await self._upload(scope, receive, sending)
            elif scope["method"] in ("POST", "PUT", "PATCH"):
                await self._app(scope, await _checked_body(scope, receive), sending)
            elif scope["path"] == "/":
                await self._app(scope, receive, _without_description(sending))
            else:
                await self._app(scope, receive, sending)
        except Refused as refused:
            await _answer(refused, sending)

    def _check(self, scope: MutableMapping[str, Any]) -> None:
        headers, path = _headers(scope), scope["path"]
        host = headers.get("host", "")
        if not host or not self._known_host(host_name(host)):
            raise Refused(
                403,
                f"This studio is not called '{host[:80]}'. Open it under the address that it printed when it started; under "
                "other names it is open with a password only (docs/security.md).",
            )
        _check_origin(headers, host)
        if path.startswith(CLOSED):
            raise Refused(404, "This studio has no such page. Open its first page.")
        if file := next((path[len(prefix) :] for prefix in FILES if path.startswith(prefix)), None):
            self._check_file(file)

    def _check_file(self, file: str) -> None:
        with suppress(OSError, ValueError):
            if "://" not in file and Path(file).resolve().is_relative_to(self._served.resolve()):
                return
        raise Refused(
            403, "Only files that the studio made for its visitors are given out. Download them from the page."
        )

    async def _upload(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        declared = _declared(scope)
        if declared > self._most_upload:
            raise Refused(413, _too_much(self._most_upload))
        if self._uploads >= MOST_UPLOADS_AT_ONCE:
            raise Refused(503, f"{self._uploads} uploads are arriving already. Try it again in a minute.")
        if self._stored() + declared > MOST_STORED * self._most_upload:
            raise Refused(
                507, "There is no room for uploads now; others are being read. Try it again in a few minutes."
            )
        self._uploads += 1
        try:
            await self._app(scope, _counted(receive, self._most_upload), send)
        finally:
            self._uploads -= 1

    def _stored(self) -> int:
        """Bytes in the served folder; pieces of uploads that broke off long ago are removed on the way."""
        total = 0
        for path in self._served.glob("**/*") if self._served.is_dir() else ():
            with suppress(OSError):
                facts = path.lstat()
                if path.parent == self._served and path.is_file() and facts.st_mtime < time.time() - LEFT_OVER_S:
                    path.unlink()
                else:
                    total += facts.st_size
        return total


def host_name(host: str) -> str:
    """The name in a `Host` header, without its port: '[::1]:7860' is '::1'."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_address(host: str) -> bool:
    """Whether a host is an IP address: no name server can have led a browser there."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _check_origin(headers: dict[str, str], host: str) -> None:
    origin = headers.get("origin")
    own = {host.lower(), headers.get("x-forwarded-host", host).lower()}
    foreign = origin is not None and origin.partition("://")[2].lower() not in own
    embedded = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode", "navigate") != "navigate"
    if foreign or embedded:
        raise Refused(
            403,
            "Another site asked for this. Open the studio itself; behind a proxy, let it pass on the Host header "
            "(docs/security.md).",
        )


def _declared(scope: MutableMapping[str, Any]) -> int:
    text = _headers(scope).get("content-length", "0")
    return int(text) if text.isdecimal() else 0


def _too_much(most: int) -> str:
    return f"more than the maximum allowed size of {most / 1e6:,.0f} MB was sent at once. Send less, or cut the videos."


def _counted(receive: Receive, most: int) -> Receive:
    """`receive` that ends the upload when it grows beyond what is allowed, in the way in which Gradio cleans up after it."""
    from starlette.formparsers import MultiPartException

    arrived = 0

    async def counted() -> Message:
        nonlocal arrived
        message = await receive()
        arrived += len(message.get("body", b""))
        if arrived > most:
            raise MultiPartException(_too_much(most))
        return message

    return counted


async def _checked_body(scope: MutableMapping[str, Any], receive: Receive) -> Receive:
    """The whole body, limited and looked through; as a `receive` that gives it out again."""
    if _declared(scope) > MOST_BODY:
        raise Refused(413, _too_much(MOST_BODY))
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "The request broke off.")
        body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > MOST_BODY:
            raise Refused(413, _too_much(MOST_BODY))
    if any(path.lower().startswith(("http:", "https:")) for path in _paths(body)):
        raise Refused(400, "The studio loads no files from other addresses. Upload the file itself.")
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _paths(body: bytes) -> Iterator[str]:
    """Every text called 'path' in a JSON body; nothing for other bodies."""
    try:
        todo = [json.loads(body)]
    except (ValueError, RecursionError):
        return
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            if isinstance(value.get("path"), str):
                yield value["path"].strip()
            todo += value.values()
        elif isinstance(value, list):
            todo += value


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            known = {name.lower() for name, _ in message.get("headers", [])}
            added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in known]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sending


def _without_description(send: Send) -> Send:
    """`send` for the first page: whole, and without the description of the functions while nobody has logged in."""
    start: Message = {}
    whole = b""

    async def sending(message: Message) -> None:
        nonlocal start, whole
        if message["type"] == "http.response.start":
            start = message
        elif message["type"] == "http.response.body":
            whole += message.get("body", b"")
            if not message.get("more_body", False):
                whole = DESCRIPTION.sub(NO_DESCRIPTION, whole) if LOGIN_PAGE in whole else whole
                headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
                await send({**start, "headers": [*headers, (b"content-length", str(len(whole)).encode())]})
                await send({"type": "http.response.body", "body": whole})

    return sending


async def _answer(refused: Refused, send: Send) -> None:
    text = str(refused).encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
