"""The JavaScript of components."""

import json
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
GIVEN = """var props = ((live, given) => new Proxy(live, {
  get: (from, name) => (from[name] === undefined && name in given ? given[name] : from[name]),
  set: (to, name, value) => ((to[name] = value), true),
}))(props, %s);
"""


def script(files: Sequence[str], **given: float | str | bool) -> str:
    """Files of this folder as one script, in which `props` also has what is given.

    Properties that are handed to `gradio.HTML` are lost when an event leaves the component as it is before its tab is shown
    for the first time (Gradio 6.31); what is written into the script stays.

    Args:
        files: Names, in order.
        given: Properties that never change.
    """
    parts = [(HERE / name).read_text(encoding="utf-8") for name in files]
    return GIVEN % json.dumps(given) + "".join(parts)
