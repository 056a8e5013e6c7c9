"""Which version of the town made something: a hash of its source."""

import hashlib
from functools import cache
from pathlib import Path

import worldmodel


@cache
def town_fingerprint() -> str:
    """Twelve hexadecimal digits over the code that decides what scenes and their pictures look like."""
    root = Path(worldmodel.__file__).parent
    files = sorted(
        [*(root / "town").rglob("*.py"), root / "geometry.py", root / "decisions.py", root / "io" / "video.py"]
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
