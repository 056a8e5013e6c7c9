"""Uploads: what is taken, what is refused and why, and that nothing of it stays."""

import io
import json
import os
import re
import shutil
import stat
import struct
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studio.web.arrivals import confined, contents, uploads
from studio.web.arrivals.limits import Limits
from studio.web.arrivals.uploads import Received, arriving, take, used_bytes
from worldmodel.errors import BadDataset, BadInput, BadTable, BadVideo
from worldmodel.io.lerobot import Dataset
from worldmodel.io.video import write_video

SMALL = Limits(upload_bytes=3_000_000, unpacked_bytes=3_000_000, kept_bytes=3_000_000, frames=200, seconds=20.0)


def at_once(work: confined.Work, stopped: Callable[[], bool]) -> Iterator[tuple[int, int]]:
    """The import in this process, which is faster than in one of its own."""
    steps: list[tuple[int, int]] = []
    confined.do(work, lambda done, of: steps.append((done, of)))
    yield from steps


@pytest.fixture
def unconfined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "imported", at_once)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 8 Hz."""
    path = tmp_path_factory.mktemp("sent") / "video.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (16, 3, 32, 64), dtype=np.uint8), 8)
    return path


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """Where a browser's files arrive."""
    (tmp_path / "sent").mkdir()
    return tmp_path / "sent"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "mine"


def put(folder: Path, name: str, content: bytes | str | Path) -> Received:
    """A file as it arrives: called `name` by the visitor, in a folder of its own."""
    place = folder / str(len(list(folder.iterdir())))
    place.mkdir()
    path = place / "file"
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Received(name=name, path=path)


def packed(entries: Sequence[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def mp4(
    frames: int = 16, *, seconds: float = 2.0, width: int = 64, height: int = 32, fragments: int = 0, edits: int = 0
) -> bytes:
    """The boxes of an mp4 that claims this much and holds nothing."""
    entry = box(b"avc1", bytes(24) + struct.pack(">HH", width, height) + bytes(50))
    table = box(b"stsd", bytes(4) + struct.pack(">I", 1) + entry) + box(b"stsz", struct.pack(">III", 0, 1, frames))
    handler = box(b"hdlr", bytes(8) + b"vide" + bytes(12))
    length = box(b"mdhd", bytes(12) + struct.pack(">II", 1000, int(seconds * 1000)) + bytes(4))
    cuts = box(b"edts", box(b"elst", bytes(4) + struct.pack(">I", edits))) if edits else b""
    track = box(b"trak", cuts + box(b"mdia", length + handler + box(b"minf", box(b"stbl", table))))
    moof = box(b"moof", box(b"traf", box(b"trun", bytes(4) + struct.pack(">I", fragments)))) if fragments else b""
    return box(b"ftyp", b"isom" + bytes(4)) + box(b"moov", track) + moof + box(b"mdat", bytes(64))


def refused(files: Sequence[Received], mine: Path, limits: Limits = SMALL) -> str:
    """The sentence; nothing may be left of the files or of the attempt, and no sentence names the server's folders."""
    with pytest.raises(BadInput) as caught:
        take(files, mine, limits)
    assert not mine.exists() or list(mine.iterdir()) == []
    assert not any(file.path.exists() or file.path.is_symlink() for file in files)
    sentence = str(caught.value)
    assert str(mine.parent) not in sentence
    assert ".incoming" not in sentence
    return sentence


@pytest.mark.usefixtures("unconfined")
def test_a_video_becomes_a_dataset_under_a_clean_name(video: Path, sent: Path, mine: Path) -> None:
    steps = list(arriving([put(sent, "<img src=x onerror=alert(1)> 'drive'.MOV", video)], mine, SMALL))
    dataset = steps[-1].dataset
    assert dataset is not None
    assert dataset.path == mine / "img-src-x-onerror-alert-1-drive"
    assert dataset.ids == ("img-src-x-onerror-alert-1-drive",)
    assert (dataset.rig.names, dataset.rig.width_px, dataset.rig.height_px) == (("front",), 128, 64)
    assert dataset.frequency_hz == 8
    assert dataset.clip(0).video.shape == (16, 1, 3, 64, 128)
    assert [step.share for step in steps[-2:]] == [1.0, 1.0]
    assert list(sent.iterdir()) == []
    assert [path.name for path in mine.iterdir()] == [dataset.path.name]


@pytest.mark.usefixtures("unconfined")
def test_videos_with_tables_keep_cameras_and_motion(video: Path, sent: Path, mine: Path) -> None:
    rows = "frame,t,speed,yaw_rate\n" + "".join(f"{i},{i / 8},8.0,0.1\n" for i in range(16))
    files = [
        put(sent, "tour/day 1.left.mp4", video),
        put(sent, "tour/day 1.front.mp4", video),
        put(sent, "tour/day 1.ego.csv", rows),
        put(sent, "tour/.DS_Store", b"\0\1"),
        put(sent, "tour/README.md", "# A tour\n"),
    ]
    dataset = take(files, mine, SMALL)
    assert (dataset.path.name, dataset.ids, dataset.rig.names) == ("tour", ("day-1",), ("left", "front"))
    assert dataset.has_motion
    assert dataset.records[0].motion_origin == "yaw_rate"


@pytest.mark.usefixtures("unconfined")
def test_a_lerobot_folder_in_a_zip_is_found_below_other_folders(drives: Dataset, sent: Path, mine: Path) -> None:
    files = [path for path in drives.path.rglob("*") if path.is_file()]
    zipped = packed([(f"some/where/{path.relative_to(drives.path)}", path.read_bytes()) for path in files])
    first = take([put(sent, "drives.zip", zipped)], mine, replace(SMALL, work_s=60.0))
    assert (first.path.name, first.ids, first.has_motion) == ("drives", drives.ids, True)
    motion, expected = first.motion(0), drives.motion(0)
    assert motion is not None
    assert expected is not None
    np.testing.assert_allclose(motion.deltas, expected.deltas, atol=1e-5)
    assert first.clip(0).instruction_at(0.0) == "turn left at the crossing"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("huge.mp4", mp4(10**9), "claims 1,000,000,000 frames .* at most 200 .*ffmpeg"),
        ("pieces.mp4", mp4(fragments=10**9), "claims 1,000,000,000 frames"),
        ("few.mp4", mp4(1000), "claims 1,000 frames"),
        ("long.mov", mp4(seconds=86_400), "86,400 s; at most .* 20 s"),
        ("wide.mp4", mp4(width=30_000, height=30_000), "30,000x30,000 px; at most 8,294,400 pixels"),
        ("edits.mp4", mp4(edits=1000), "edit list of 1,000 entries"),
        ("cut.mp4", mp4()[:-80], "boxes do not fit into the file"),
        ("film.mp4", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 30_000, 30_000) + bytes(9), "picture .png of 30,000x30,000 px"),
        ("photo.mp4", b"\xff\xd8\xff\xe0" + bytes(40), "is a picture .jpeg"),
        ("list.mp4", "#EXTM3U\nfile:///etc/passwd\n", "'list.mp4' holds text, .* Send a video"),
        ("page.html", "<script>alert(1)</script>", "holds text, which is no recording"),
        ("tool.mp4", b"\x7fELF" + bytes(60), "is of type program"),
        ("a.csv", mp4(), "'a.csv' is of type mp4"),
        ("nothing.mp4", b"", "is empty"),
        ("a.csv", "t\n" + "0\n" * 30_000, "30,001 lines, .* at most 20,000 rows"),
        ("a.csv", "t\n" + "9" * 20_000, "longest of 20,000 bytes"),
        ("a.json", "[" * 9_000_000, "9.0 MB were sent; at most 3 MB|9 MB were sent; at most 3 MB"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(30), "archive .7z"),
        ("\x1b[31m\n.mp4", mp4(), "no plain name"),
        ("../../etc/cron.d/x.mp4", mp4(), "leaves its folder"),
        ("/etc/x.mp4", mp4(), "leaves its folder"),
        ("..\\x.mp4", mp4(), "leaves its folder"),
    ],
)  # fmt: skip
def test_what_is_no_sound_recording_is_refused_with_a_sentence(
    name: str, content: bytes | str, sentence: str, sent: Path, mine: Path
) -> None:
    found = refused([put(sent, name, content)], mine)
    assert re.search(sentence, found, re.DOTALL), found


def bomb(size: int) -> bytes:
    """A zip of one file of zeros."""
    return packed([("a.mp4", bytes(size))])


def link() -> bytes:
    entry = zipfile.ZipInfo("a.mp4")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return packed([(entry, b"/etc/passwd")])


def lying() -> bytes:
    """A zip whose table says 100 bytes where there are a million."""
    whole = bytearray(packed([("a.mp4", np.random.default_rng(0).bytes(1_000_000))], zipfile.ZIP_STORED))
    at = whole.rindex(b"PK\x01\x02")
    whole[at + 24 : at + 28] = struct.pack("<I", 100)
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (bomb(2_900_000), "times its size; at most 100 times"),
        (bomb(40_000_000), "times its size"),
        (packed([(f"{i}.mp4", np.random.default_rng(i).bytes(900_000)) for i in range(3)]), "no recording under that name|unknown type"),
        (packed([(f"{i}.mp4", bytes(1_000_000)) for i in range(4)]), "unpacks to 4 MB; at most 3 MB"),
        (packed([(f"{i}.txt", b"") for i in range(401)]), "401 files; at most 400"),
        (packed([(f"{i}.txt", b"") for i in range(2000)]), "lists 2000 files"),
        (link(), "'a.mp4' in the zip is a link"),
        (lying(), "damaged|more than its table says"),
        (packed([("../x.mp4", b"x")]), "leaves its folder"),
        (packed([("a/../../x.mp4", b"x")]), "leaves its folder"),
        (packed([("/etc/x.mp4", b"x")]), "leaves its folder"),
        (packed([("C:\\x.mp4", b"x")]), "leaves its folder"),
        (packed([("/".join("abcdefghijklm") + "/x.mp4", b"x")]), "leaves its folder"),
        (packed([("in.zip", bomb(100))]), "archive .zip. inside what was sent"),
        (packed([("a.mp4", b"x")], zipfile.ZIP_BZIP2), "packed in a rare way"),
        (packed([("A.mp4", mp4()), ("a.MP4", mp4())]), "two files are called"),
        (packed([("a/x.mp4", mp4()), ("b/y.mp4", mp4())]), "videos lie in 2 folders"),
        (packed([("README.md", b"# hello")]), "no recording in what was sent"),
        (b"PK\x03\x04" + bytes(100), "has no end"),
        (packed([("a.mp4", b"x")])[:-30] + b"PK\x05\x06" + bytes(18), "damaged|no recording"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_zips_are_unpacked_within_bounds(content: bytes, sentence: str, sent: Path, mine: Path) -> None:
    assert re.search(sentence, found := refused([put(sent, "all.zip", content)], mine)), found


def test_a_link_among_the_files_is_not_followed(sent: Path, mine: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(mp4())
    (sent / "a.mp4").symlink_to(secret)
    assert "is no plain file" in refused([Received(name="a.mp4", path=sent / "a.mp4")], mine)
    assert secret.exists()


def test_too_much_at_once_is_refused_and_removed(video: Path, sent: Path, mine: Path) -> None:
    several = [put(sent, f"{i}.mp4", video) for i in range(3)]
    assert "3 files were sent; at most 2" in refused(several, mine, replace(SMALL, files=2))
    assert "MB were sent; at most 0 MB" in refused([put(sent, "a.mp4", video)], mine, replace(SMALL, upload_bytes=1000))
    assert "nothing was sent" in refused([], mine)


def test_a_visitor_keeps_no_more_than_the_quota(sent: Path, mine: Path) -> None:
    (mine / "before").mkdir(parents=True)
    (mine / "before" / "film.mp4").write_bytes(bytes(4_000_000))
    with pytest.raises(BadDataset, match=r"fill 4 MB already; at most 3 MB .* Reload"):
        take([put(sent, "a.mp4", mp4())], mine, SMALL)
    assert used_bytes(mine) == 4_000_000


@pytest.mark.usefixtures("unconfined")
def test_a_damaged_video_is_named_without_the_servers_folders(sent: Path, mine: Path) -> None:
    sentence = refused([put(sent, "hollow.mp4", mp4(16) + box(b"free", bytes(400)))], mine)
    assert sentence.startswith("'hollow.front.mp4'")
    assert "damaged" in sentence or "Copy" in sentence or "cut off" in sentence


@pytest.mark.slow
def test_the_import_ends_with_its_visitor_its_time_or_its_process(
    video: Path, sent: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = take([put(sent, "a.mp4", video)], mine, SMALL)
    assert dataset.clip(0).video.shape == (16, 1, 3, 64, 128)
    shutil.rmtree(dataset.path)
    with pytest.raises(BadVideo, match=r"more than 0 s, .*detour import"):
        take([put(sent, "a.mp4", video)], mine, replace(SMALL, work_s=0.1))
    began = time.monotonic()
    for step in arriving([put(sent, "a.mp4", video)], mine, SMALL):
        if step.text.startswith("Opening"):
            break  # the page is gone: the generator is closed, and its process with it
    assert time.monotonic() - began < 5
    monkeypatch.setattr(confined.sys, "executable", shutil.which("false") or "false")
    with pytest.raises(BadVideo, match=r"failed within 4 GB of memory and 240 s .*damaged or too large"):
        take([put(sent, "a.mp4", video)], mine, SMALL)
    assert list(mine.iterdir()) == []


def test_the_import_sees_no_password(video: Path, sent: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    start = confined.subprocess.Popen

    def watched(*args: object, env: dict[str, str], **options: object) -> object:
        seen.append(env)
        return start(*args, env=env, **options)  # type: ignore[call-overload]

    monkeypatch.setenv("DETOUR_AUTH", "ann:long enough")
    monkeypatch.setattr(confined.subprocess, "Popen", watched)
    with pytest.raises(BadDataset, match="was stopped; nothing of it is kept"):
        take([put(sent, "a.mp4", video)], mine, SMALL, stopped=lambda: True)
    assert list(mine.iterdir()) == []
    assert "DETOUR_AUTH" not in seen[0]
    assert os.environ["DETOUR_AUTH"] == "ann:long enough"


def test_parts_of_a_lerobot_folder_without_their_folders_are_explained(sent: Path, mine: Path) -> None:
    files = [put(sent, "file-000.parquet", b"PAR1" + bytes(20)), put(sent, "file-000.mp4", mp4())]
    assert "Send the whole folder, or a zip of it" in refused(files, mine)
    files = [put(sent, f"{name}/meta/info.json", json.dumps({})) for name in "ab"]
    assert "2 LeRobot datasets were sent at once" in refused(files, mine)


@pytest.mark.usefixtures("unconfined")
@pytest.mark.parametrize("name", ["../../up"])
def test_names_in_a_datasets_tables_are_no_paths(name: str, silent_drives: Dataset, sent: Path, mine: Path) -> None:
    def content(path: Path) -> bytes:
        return path.read_bytes().replace(b'"silent"', json.dumps(name).encode())

    files = [path for path in silent_drives.path.rglob("*") if path.is_file()]
    zipped = packed([(str(path.relative_to(silent_drives.path)), content(path)) for path in files])
    assert "a clip or camera is called" in refused([put(sent, "x.zip", zipped)], mine)


def test_claims_are_those_of_a_real_video(video: Path) -> None:
    claims = contents.claims_of(video)
    assert (claims.frames, claims.seconds, claims.width_px, claims.height_px) == (16, 2.0, 64, 32)


def test_a_bad_table_is_an_error_of_tables(sent: Path, mine: Path) -> None:
    with pytest.raises(BadTable):
        take([put(sent, "a.csv", "t\n" * 30_000)], mine, SMALL)
