import json

import pytest

from worldmodel.edits import (
    KINDS,
    ChangeInstruction,
    ChangeMotion,
    ChangeWeather,
    InsertActor,
    MoveActor,
    RemoveActor,
    StitchSprite,
    edit_from_json,
    edit_to_json,
)
from worldmodel.errors import BadEdit, UnknownName

ONE_OF_EACH = [
    StitchSprite(variant="sky_near", kind="truck", at_s=1.0),
    InsertActor(kind="car", x_m=12.0, y_m=-1.5, yaw_rad=0.1, speed_mps=3.0, at_s=0.5),
    MoveActor(track="car-1", x_m=1.0, y_m=0.0),
    RemoveActor(track="car-1", at_s=2.0),
    ChangeInstruction(text="Biege links ab – jetzt", at_s=1.0),
    ChangeMotion(deltas=((1.0, 0.0, 0.1), (0.9, 0.0, 0.0)), at_s=0.25),
    ChangeWeather(weather="fog", hour=7.5),
]


@pytest.mark.parametrize("edit", ONE_OF_EACH, ids=lambda edit: type(edit).__name__)
def test_an_edit_travels_as_one_line_of_json(edit):
    text = edit_to_json(edit)
    assert "\n" not in text
    assert edit_from_json(text) == edit


def test_every_kind_is_tried():
    assert {type(edit) for edit in ONE_OF_EACH} == set(KINDS.values())


@pytest.mark.parametrize("text", ["", "{", "[]", '"near"', '{"kind": "car"}', '{"edit": 3}', "null"])
def test_what_is_no_edit_is_refused(text):
    with pytest.raises(BadEdit, match="JSON"):
        edit_from_json(text)


def test_unknown_edits_and_fields_offer_the_closest():
    with pytest.raises(UnknownName, match="Did you mean 'InsertActor'"):
        edit_from_json('{"edit": "InsertAktor"}')
    with pytest.raises(UnknownName, match="Did you mean 'speed_mps'"):
        edit_from_json('{"edit": "InsertActor", "kind": "car", "x_m": 1, "y_m": 2, "speed": 3}')


def test_missing_fields_are_named():
    with pytest.raises(BadEdit, match="track"):
        edit_from_json('{"edit": "RemoveActor"}')


@pytest.mark.parametrize("deltas", [3, [1, 2, 3], [[1, "fast", 3]], None, [[1, 2]]])
def test_steps_that_are_no_steps_are_refused(deltas):
    with pytest.raises(BadEdit, match="ChangeMotion"):
        edit_from_json(json.dumps({"edit": "ChangeMotion", "deltas": deltas}))


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('{"edit": "InsertActor", "kind": "car", "x_m": "far", "y_m": 0}', "x_m is 'far'; it must be a finite number"),
        ('{"edit": "InsertActor", "kind": "car", "x_m": NaN, "y_m": 0}', "finite number"),
        ('{"edit": "InsertActor", "kind": "car", "x_m": true, "y_m": 0}', "finite number"),
        ('{"edit": "ChangeInstruction", "text": 3}', "text is 3; it must be a text"),
    ],
)
def test_values_of_another_type_are_refused(text, advice):
    with pytest.raises(BadEdit, match=advice):
        edit_from_json(text)
