"""Who may reach the studio, and with what password; what is said when it is open to others. See docs/security.md."""

import argparse
import asyncio
import hmac
import os
import socket
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.web.arrivals.limits import Limits
from studio.web.guard import Guard, is_address
from worldmodel.errors import BadRequest

LOCAL = ("127.0.0.1", "localhost", "::1")
VARIABLE = "DETOUR_AUTH"
SHORTEST_PASSWORD = 10
WRONG_S = 1.5  # how long a wrong password is left waiting
MOST_WAITING = 8  # further tries are refused unread meanwhile
UNWANTED = (
    "GRADIO_ALLOWED_PATHS", "GRADIO_SHARE", "GRADIO_SERVER_NAME", "GRADIO_MCP_SERVER", "GRADIO_RUN_HISTORY",
    "GRADIO_LOCAL_DEV_MODE", "GRADIO_VIBE_MODE", "GRADIO_PROFILING", "GRADIO_SSR_MODE", "GRADIO_NUM_WORKERS",
)  # fmt: skip
RELAY = ".gradio.live"


@dataclass(frozen=True, kw_only=True)
class Access:
    """How the studio is opened.

    Attributes:
        host: Where it listens.
        share: Whether Gradio's relay gives it a public address.
        accounts: Passwords by user; none for a studio without login.
        max_upload_mb: Of all files that are sent at once, in millions of bytes.
        told_on_command_line: Whether the password stands there, where others on this machine can read it.
    """

    host: str = LOCAL[0]
    share: bool = False
    accounts: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_upload_mb: int = 200
    told_on_command_line: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_upload_mb <= 10_000:
            raise BadRequest(f"--max-upload {self.max_upload_mb} is given; it must lie between 1 and 10000 MB.")
        for user, password in self.accounts.items():
            if not user.strip() or len(password) < SHORTEST_PASSWORD:
                raise BadRequest(
                    f"the password of user '{user}' has {len(password)} characters; a user needs a name and a password of at least "
                    f"{SHORTEST_PASSWORD}. Choose a longer one, for example three words."
                )

    @staticmethod
    def of(host: str, share: bool, auth: str | None, max_upload_mb: int, environment: Mapping[str, str]) -> "Access":
        """From the options of the command; `auth` is USER:PASSWORD or @FILE, else the environment's DETOUR_AUTH.

        Raises:
            BadRequest: if the password is too short, or nothing can be read as USER:PASSWORD.
        """
        text = auth if auth is not None else environment.get(VARIABLE, "")
        return Access(
            host=host,
            share=share,
            accounts=accounts_of(text) if text else {},
            max_upload_mb=max_upload_mb,
            told_on_command_line=auth is not None and not auth.startswith("@"),
        )

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it; only then visitors may name folders of this machine."""
        return self.host in LOCAL and not self.share

    @property
    def limits(self) -> Limits:
        """What may be uploaded."""
        size = self.max_upload_mb * 1_000_000
        return Limits(upload_bytes=size, unpacked_bytes=2 * size, kept_bytes=max(300_000_000, 2 * size))

    def knows_host(self, name: str) -> bool:
        """Whether a browser may call this server by that name; see `guard` for why."""
        if name in LOCAL or name == self.host:
            return True
        if self.local:
            return False
        machine = socket.gethostname().lower()
        own = {machine, f"{machine}.local", machine.partition(".")[0]}
        return bool(self.accounts) or is_address(name) or name in own or (self.share and name.endswith(RELAY))

    def warning(self) -> str:
        """What to say on standard error when it starts; '' when only this machine can reach it and nothing is odd."""
        lines = []
        if not self.local:
            lines += self._exposed()
        if self.told_on_command_line:
            lines.append(
                f"The password stands on the command line, where other users of this machine can read it: use --auth @FILE or {VARIABLE}."
            )
        return "".join(f"!  {line}\n" for line in lines)

    def _exposed(self) -> list[str]:
        where = (
            "anywhere, through Gradio's relay at gradio.live"
            if self.share
            else f"other machines (it listens on {self.host})"
        )
        guarded = f"with a password ({', '.join(self.accounts)})" if self.accounts else "WITHOUT A PASSWORD"
        lines = [
            f"The studio can be reached from {where}, {guarded}.",
            "Who gets in can see the clips, use this machine's processor, start studies, and upload up to "
            f"{self.max_upload_mb} MB at a time. Other folders and own policies (programs) are closed.",
        ]
        if not self.accounts:
            lines.append(
                f"Set a password with --auth @FILE (one line USER:PASSWORD) or {VARIABLE}, or stop this now with Ctrl-C."
            )
        if self.share:
            lines.append("The relay's owner could read what passes through it; the address ends after a week at most.")
        elif self.accounts:
            lines.append("Without https the password travels in the open: put a proxy with https in front of it.")
        return [*lines, "What is open and what is not: docs/security.md"]

    def launch_options(self, served: Path) -> dict[str, Any]:
        """Options of security for `Blocks.launch`.

        Args:
            served: The folder that `prepare` was given; the only one whose files are given out.
        """
        from starlette.middleware import Middleware

        limits = self.limits
        guard = Middleware(Guard, served=served, known_host=self.knows_host, most_upload=limits.upload_bytes)
        return {
            "server_name": self.host,
            "share": self.share,
            "auth": Door(self.accounts).admits if self.accounts else None,
            "auth_message": "This studio asks for a password.",
            "max_file_size": limits.upload_bytes,
            "app_kwargs": {"middleware": [guard], "docs_url": None, "redoc_url": None, "openapi_url": None},
            "enable_monitoring": False,
            "run_history": False,
            "mcp_server": False,
            "ssr_mode": False,
            "pwa": False,
            "strict_cors": True,
            "show_error": False,
            "footer_links": [],
            "_frontend": False,  # Gradio would fetch its own page once, and give up when a busy machine takes 3 s for it
        }


def prepare(served: Path) -> None:
    """Settle what Gradio and later processes read from the environment; to be called before a page is built.

    Args:
        served: A folder of this server alone; what visitors upload and download lies there.
    """
    for name in (*UNWANTED, VARIABLE):
        os.environ.pop(name, None)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(served)
    served.mkdir(mode=0o700, parents=True, exist_ok=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options of access: --host, --share, --auth, --max-upload."""
    parser.add_argument(
        "--host", default=LOCAL[0], help="127.0.0.1 is this machine only; 0.0.0.0 is every machine near"
    )
    parser.add_argument("--share", action="store_true", help="also open a public address through Gradio's relay")
    parser.add_argument(
        "--auth",
        metavar="USER:PASSWORD|@FILE",
        help=f"ask for a password; better in a file or in {VARIABLE}, unseen by others",
    )
    parser.add_argument("--max-upload", type=int, default=200, metavar="MB", help="of all files sent at once")


def accounts_of(text: str) -> dict[str, str]:
    """Passwords by user, from 'USER:PASSWORD' or from '@FILE' with one of these per line.

    Raises:
        BadRequest: if a line has another form, or the file cannot be read or is readable by everybody.
    """
    lines = _lines_of(Path(text[1:])) if text.startswith("@") else [text]
    accounts = {}
    for line in lines:
        user, colon, password = line.strip().partition(":")
        if not colon:
            raise BadRequest("the login is no USER:PASSWORD (there is no ':'). Write a name, a colon and a password.")
        accounts[user.strip()] = password
    return accounts


def _lines_of(path: Path) -> list[str]:
    try:
        if os.name == "posix" and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise BadRequest(f"'{path}' can be read by other users of this machine. Close it with `chmod 600 {path}`.")
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(
            f"the login file '{path}' cannot be read: {error}. Write one line USER:PASSWORD in it."
        ) from error
    if not lines:
        raise BadRequest(f"the login file '{path}' is empty. Write one line USER:PASSWORD in it.")
    return lines


class Door:
    """Lets people in who know a password, and lets others wait."""

    def __init__(self, accounts: Mapping[str, str]) -> None:
        self._accounts = {user: password.encode() for user, password in accounts.items()}
        self._waiting = 0

    async def admits(self, user: str, password: str) -> bool:
        """Whether the password is right; a wrong one takes a while, and few wait at the same time."""
        if self._waiting >= MOST_WAITING:
            return False
        known = self._accounts.get(user, b"\0")
        if hmac.compare_digest(password.encode(), known) and user in self._accounts:
            return True
        self._waiting += 1
        try:
            await asyncio.sleep(WRONG_S)
        finally:
            self._waiting -= 1
        return False


def announce(access: Access) -> None:
    """Say on standard error what is exposed."""
    sys.stderr.write(access.warning())
