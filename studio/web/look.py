"""How the studio looks: a theme and a style sheet without a font or file from elsewhere."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio

FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
MONO = ("ui-monospace", "DejaVu Sans Mono", "Liberation Mono", "monospace")


def theme() -> "gradio.themes.Base":
    """Calm blue on grey, light and dark; only fonts of the visitor's machine."""
    from gradio.themes import Base, colors

    base = Base(primary_hue=colors.blue, secondary_hue=colors.blue, neutral_hue=colors.slate, font=FONT, font_mono=MONO)
    return base.set(  # enough contrast to read small print and buttons
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        input_placeholder_color="#5b6b82",
        input_placeholder_color_dark="#a9b6c8",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
    )


CSS = """
html, body { overflow-x: hidden; }
.gradio-container { max-width: 1280px !important; width: 100%; margin: 0 auto !important; }
.gradio-container main { width: 100%; }
.masthead { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 14px; margin: -6px -12px -10px; }
.masthead h1 { margin: 0; font-size: 1.7rem; }
.masthead p, .notice { color: var(--body-text-color-subdued); margin: 0; }
.notice { font-size: .85rem; margin: 0 -12px; }
.tab-container button { font-size: 1.02rem; }
.tab-container button.selected { color: var(--primary-700); }
.dark .tab-container button.selected { color: var(--primary-400); }
.cm-content span { color: inherit !important; }
input[role="combobox"] { padding-right: 18px !important; text-overflow: ellipsis; }
:focus-visible { outline: 2px solid var(--primary-500) !important; outline-offset: 2px; }
.main.app { padding: 14px clamp(12px, 2.5vw, 32px) !important; }
.mosaic { display: block; width: 100%; height: auto; border-radius: 6px; margin: 0 0 6px; }
.status { margin: 0 0 6px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.problem { border-left: 4px solid #d9542b; padding: 6px 10px; background: #d9542b1f; }
progress { appearance: none; width: 100%; height: 8px; border: 0; border-radius: 4px; overflow: hidden;
  background: var(--border-color-primary); }
progress::-webkit-progress-bar { background: var(--border-color-primary); }
progress::-webkit-progress-value { background: var(--primary-600); }
progress::-moz-progress-bar { background: var(--primary-600); }
.birdseye { margin: 0; }
.birdseye svg { display: block; width: 100%; max-height: 380px; border: 1px solid var(--border-color-primary);
  border-radius: 6px; background: var(--background-fill-primary); color: var(--body-text-color); }
.birdseye figcaption { font-size: .85rem; color: var(--body-text-color-subdued); margin-top: 4px; }
.birdseye .grid { stroke: var(--border-color-primary); stroke-width: .12; display: inline; }
.birdseye .tick { fill: var(--body-text-color-subdued); font-size: 1.5px; }
.birdseye .box { fill: none; stroke: var(--body-text-color-subdued); stroke-width: .18; }
.birdseye .obstacle { stroke: #c2262e; stroke-width: .6; fill: none; }
.scroll { overflow-x: auto; }
.numbers { border-collapse: collapse; width: 100%; border: 0 !important; font-size: .9rem; font-variant-numeric: tabular-nums; }
.numbers caption { text-align: left; color: var(--body-text-color-subdued); padding: 2px 0; }
.numbers th, .numbers td { text-align: left; padding: 4px 12px 4px 0 !important; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; }
.numbers thead, .numbers tbody, .numbers tr { border: 0 !important; }
.numbers tbody th { font-weight: 600; }
.empty-note { color: var(--body-text-color-subdued); }
.desk { display: grid !important; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 16px;
  grid-template-areas: "choose stage" "set stage"; grid-template-rows: auto 1fr; }
.desk-choose { grid-area: choose; }
.desk-stage { grid-area: stage; }
.desk-set { grid-area: set; }
@media (max-width: 760px) {
  .desk { grid-template-columns: minmax(0, 1fr); grid-template-areas: "choose" "stage" "set"; grid-template-rows: none; }
}
.clips .grid-wrap { overflow-y: auto !important; }
.clips .grid-container { grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)) !important; }
.clips .caption-label { left: 0 !important; right: 0; bottom: 0 !important; max-width: none !important; margin: 0 !important;
  padding: 1px 6px !important; border: 0 !important; border-radius: 0 !important; font-size: .72rem !important; text-align: left; }
.js-plotly-plot .infolayer text, .js-plotly-plot .xtick text, .js-plotly-plot .ytick text {
  fill: var(--body-text-color) !important; }
.js-plotly-plot .gridlayer path { stroke: var(--border-color-primary) !important; }
.js-plotly-plot .modebar-container { display: none; }
.caption { color: var(--body-text-color-subdued); font-size: .85rem; margin: 2px 0 10px; }
.log { max-height: 240px; overflow: auto; font-size: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.log.printed { max-height: 60vh; white-space: pre; overflow-wrap: normal; }
.report { width: 100%; height: 75vh; border: 1px solid var(--border-color-primary); border-radius: 6px; background: #fff; }
.examples { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.example { margin: 0; }
.example img { width: 100%; background: #fff; border-radius: 6px; }
.example figcaption { font-size: .85rem; color: var(--body-text-color-subdued); }
#page-study .numbers td, #page-study .numbers tbody th { white-space: nowrap; }
"""


def launch_options() -> dict[str, object]:
    """Theme and style for `Blocks.launch`."""
    return {"theme": theme(), "css": CSS}
