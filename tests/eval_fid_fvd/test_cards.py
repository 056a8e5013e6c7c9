import json
from dataclasses import replace

import pytest

from eval_fid_fvd.cards import MetricCard, Score, check_comparable, differences, metric_name
from worldmodel.errors import BadRequest, BadTable

CARD = MetricCard(
    metric="FVD",
    network="i3d-k400",
    network_hash="93daef59",
    layer="logits",
    resize="squash to 224x224",
    value_range="[-1, 1]",
    frames=16,
    frequency_hz=8.0,
    condition_frames=1,
    cameras="6, pooled",
    size="448x256",
    codec="mp4",
    rule="N - 1",
    device="cpu",
    interval_rule="95%",
    floor_rule="halves",
    notes=("N < D",),
)
SCORE = Score(value=12.5, interval=(10.0, 15.0), n_a=96, n_b=96, floor=3.0, card=CARD)


def test_a_score_is_named_with_its_network():
    assert SCORE.name == "FVD[i3d-k400]"
    assert replace(CARD, metric="PSNR", network="none").name == "PSNR"
    assert metric_name("fvd", "tokenizer-1a2b3c4d") == "FVD"
    assert metric_name("kvd", "i3d-k400") == "KVD"


@pytest.mark.parametrize("score", [SCORE, replace(SCORE, interval=None, floor=None)])
def test_scores_survive_json(score):
    assert Score.from_json(json.loads(json.dumps(score.to_json()))) == score


def test_like_cards_compare_and_notes_do_not_matter():
    check_comparable(SCORE, replace(SCORE, value=11.0, card=replace(CARD, notes=())))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network_hash", "00000000"),
        ("resize", "crop"),
        ("frames", 25),
        ("frequency_hz", None),
        ("condition_frames", 0),
        ("cameras", "1"),
        ("rule", "N"),
        ("device", "other"),
    ],
)
def test_unlike_cards_are_refused_with_the_line_that_differs(field, value):
    other = replace(SCORE, card=replace(CARD, **{field: value}))
    assert differences(SCORE, other) == (f"{field}: {getattr(CARD, field)} against {value}",)
    with pytest.raises(BadRequest, match=f"cannot be compared(.|\n)*{field}: (.|\n)*Score both in the same way"):
        check_comparable(SCORE, other)


def test_unlike_sample_counts_are_refused():
    with pytest.raises(BadRequest, match="n_a: 96 against 50"):
        check_comparable(SCORE, replace(SCORE, n_a=50))


def test_undefined_numbers_are_not_scores():
    with pytest.raises(BadRequest, match=r"FVD\[i3d-k400\] is nan.*must be finite"):
        replace(SCORE, value=float("nan"))


def test_broken_json_is_refused_with_advice():
    data = SCORE.to_json()
    with pytest.raises(BadTable, match="lacks floor and has unknown flor"):
        Score.from_json({("flor" if key == "floor" else key): value for key, value in data.items()})
    with pytest.raises(BadTable, match=r"named 'FVD', but its card says 'FVD\[i3d-k400\]'"):
        Score.from_json({**data, "name": "FVD"})
    with pytest.raises(BadTable, match="a card lacks codec"):
        Score.from_json({**data, "card": {key: value for key, value in data["card"].items() if key != "codec"}})
