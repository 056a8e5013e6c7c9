"""A place to drop recordings: files, a whole folder with its subfolders, or a zip; with progress and a stop."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.web.arrivals.limits import Limits
from studio.web.arrivals.sorting import Received
from worldmodel.errors import BadRequest

if TYPE_CHECKING:
    import gradio

HERE = Path(__file__).parent
MARKUP = """
<div class="drop" role="group" aria-label="LABEL" data-most-files="FILES" data-most-bytes="BYTES">
  <p class="ask">LABEL</p>
  <p class="ways">
    <button type="button" class="some">Choose files</button>
    <button type="button" class="whole">Choose a folder</button>
  </p>
  <p class="what">HINT</p>
  <div class="way" hidden>
    <progress max="1" value="0" aria-label="Share sent"></progress>
    <button type="button" class="stop">Stop</button>
  </div>
  <p class="said" role="status"></p>
  <input type="file" class="files" multiple hidden tabindex="-1" aria-hidden="true">
  <input type="file" class="folder" webkitdirectory hidden tabindex="-1" aria-hidden="true">
</div>
"""


def drop(*, label: str, elem_id: str, hint: str, limits: Limits | None = None, **options: Any) -> "gradio.HTML":
    """A place to drop recordings; `upload` is triggered when they have arrived, and `received` reads its value.

    Gradio's own file field forgets the folders that files lay in; this one keeps them. What is too much is said before it
    is sent. Give None as the value afterwards, so that it is ready for the next ones.

    Args:
        label: What is wanted, in a few words.
        elem_id: Names it for style sheets and tests.
        hint: What is read, in a sentence.
        limits: What is too much.
        options: As `gradio.HTML`.
    """
    import gradio as gr

    limits = limits or Limits()
    said = {"LABEL": label, "HINT": hint, "FILES": str(limits.files), "BYTES": str(limits.upload_bytes)}
    markup = MARKUP  # filled here: inside a closed accordion Gradio gives a component no properties
    for name, text in said.items():
        markup = markup.replace(name, escape(text))
    return gr.HTML(
        None,
        label=label,
        elem_id=elem_id,
        html_template=markup,
        css_template=(HERE / "drop.css").read_text(encoding="utf-8"),
        js_on_load=(HERE / "drop.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        **options,
    )


def received(value: Mapping[str, Any] | None) -> list[Received]:
    """The files that a browser says it has sent; only those that this server stored a moment ago.

    Raises:
        BadRequest: if it names anything else.
    """
    from gradio.utils import get_upload_folder

    stored = Path(get_upload_folder()).resolve()
    files = (value or {}).get("files")
    return [_received(file, stored) for file in (files if isinstance(files, list) else [])]


def _received(file: Any, stored: Path) -> Received:
    name, path = (file.get("name"), file.get("path")) if isinstance(file, Mapping) else (None, None)
    sound = isinstance(name, str) and isinstance(path, str) and 0 < len(path) < 4096 and "\0" not in path
    if not sound or Path(path).resolve().parent.parent != stored or Path(path).is_symlink():  # type: ignore[arg-type]
        raise BadRequest("the page names a file that was not sent just now. Send the recording again.")
    return Received(name=name, path=Path(path))  # type: ignore[arg-type]
