"""What can be scored, by short names: examples made on the spot, the clips that ship, a visitor's own runs and uploads."""

from pathlib import Path

from studio.web.site import DATASETS, MINE, Site
from worldmodel.errors import BadDataset, BadRequest

IMAGINED, BLURRED = "example:imagined", "example:blurred"
EXAMPLES = {
    IMAGINED: "Example · 2 s imagined after four shipped clips",
    BLURRED: "Example · four shipped clips, blurred",
}
SHIPPED = "clips"
RUNS = "runs/"  # a run folder of the visitor's, by its path in the visitor's folder
RUN = "run.json"
MOST_RUNS = 40
MOST_CHARACTERS = 1000


def choices(site: Site, session: str) -> list[tuple[str, str]]:
    """(shown, name) of everything a visitor may score without typing: examples, shipped clips, uploads, runs."""
    root = site.visitors.folder(session)
    uploads = sorted(path.parent.parent.name for path in (root / DATASETS).glob("*/meta/info.json"))
    return [
        *((label, name) for name, label in EXAMPLES.items()),
        ("The clips that ship", SHIPPED),
        *((f"Your upload · {name}", f"{MINE}{name}") for name in uploads),
        *((f"Your run · {name}", f"{RUNS}{name}") for name in own_runs(root)),
    ]


def own_runs(root: Path) -> list[str]:
    """Paths below a visitor's folder of run folders, the newest first, and of folders with several of them."""
    found = [path.parent for pattern in (f"*/{RUN}", f"*/*/{RUN}") for path in root.glob(pattern)]
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    newest = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[:MOST_RUNS]
    parents = [path.parent for path in newest]
    several = [path for path in dict.fromkeys(parents) if path != root and parents.count(path) > 1]
    return [str(path.relative_to(root)) for path in (*several, *newest)]


def place_of(site: Site, session: str, name: str) -> str:
    """What `detour score` is given for a side that is no example: a path, or DATASET:EPISODE@SECONDS.

    Raises:
        BadDataset: if there is nothing of that name, or other folders are not open to visitors.
        BadRequest: for no name, or a very long one.
    """
    text = name.strip()
    if not text or len(text) > MOST_CHARACTERS:
        raise BadRequest(
            f"a side's name has {len(text)} characters; 1 to {MOST_CHARACTERS} are needed. Choose a side from the list."
        )
    whole, _, moment = text.partition(":")
    moment = f":{moment}" if moment else ""
    if whole == SHIPPED:
        return f"{site.clips}{moment}"
    if whole.startswith(MINE):
        return f"{site.dataset(session, whole).path}{moment}"
    if text.startswith(RUNS):
        return str(_own_run(site, session, text.removeprefix(RUNS)))
    if site.any_folder:
        return str(Path(text).expanduser())
    raise BadDataset(
        f"'{text[:200]}' is not open here: this studio can be reached from other machines. Choose from the list, or upload "
        "clips of your own."
    )


def _own_run(site: Site, session: str, name: str) -> Path:
    root = site.visitors.folder(session).resolve()
    path = (root / name).resolve()
    if path == root or not path.is_relative_to(root) or not path.is_dir():
        raise BadDataset(
            f"there is no run '{name[:80]}' of yours; runs are removed when the tab is closed. Make it again."
        )
    return path
