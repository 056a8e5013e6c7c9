import json
import xml.etree.ElementTree as ElementTree

import pytest

from worldmodel.training.curves import curves_svg, run_curves, series

SVG = "{http://www.w3.org/2000/svg}"


def lines(count=30, **metrics):
    return [
        {"step": 20 * (i + 1), "seconds": 60.0 * (i + 1), "loss": 2 / (i + 1), "metrics": metrics} for i in range(count)
    ]


def test_every_stage_gets_a_row_and_every_number_a_panel():
    picture = ElementTree.fromstring(
        curves_svg([("vision", lines(psnr_db=20.0)), ("chunk", lines(video=1.0, plan=0.5))])
    )
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert "vision: 600 steps, 30.0 minutes" in texts
    assert "chunk: 600 steps, 30.0 minutes" in texts
    assert [text for text in texts if text in ("loss", "psnr_db", "video", "plan")] == [
        "loss", "psnr_db", "loss", "video", "plan",
    ]  # fmt: skip
    assert len(list(picture.iter(f"{SVG}polyline"))) == 2 * 5
    width, height = float(picture.get("width")), float(picture.get("height"))
    for line in picture.iter(f"{SVG}polyline"):
        for point in line.get("points").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_axes_say_the_largest_and_smallest_value():
    picture = ElementTree.fromstring(curves_svg([("chunk", lines())]))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"2", "0.0667", "20", "600"} <= set(texts)


@pytest.mark.parametrize("count", [1, 2])
def test_short_and_flat_logs_are_drawn(count):
    assert "nan" not in curves_svg([("chunk", lines(count, plan=0.0, video=-1.0))])


def test_values_that_were_not_finite_are_left_out():
    log = [*lines(2, plan=1.0), *lines(1, plan=None)]
    assert series(log) == {"loss": [(20, 2.0), (40, 1.0), (20, 2.0)], "plan": [(20, 1.0), (40, 1.0)]}
    assert "plan" not in curves_svg([("chunk", lines(1, plan=None))])


def test_a_run_without_logs_has_no_curves(tmp_path):
    assert run_curves(tmp_path) is None
    (tmp_path / "chunk-run").mkdir()
    (tmp_path / "chunk-run" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines()))
    assert "chunk: 600 steps" in run_curves(tmp_path)
