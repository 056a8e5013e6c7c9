import math
from dataclasses import fields

import pytest

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.memory import Full, Window
from worldmodel.sampling import Sampling


def test_sizes_left_out_are_those_that_were_trained():
    memory = Sampling().empty_memory(5)
    assert isinstance(memory, Window)
    assert (memory.sink, memory.recent) == (1, 5)
    sized = Sampling(sink=2, recent=3).empty_memory(5)
    assert (sized.sink, sized.recent) == (2, 3)
    assert isinstance(Sampling(memory="full").empty_memory(5), Full)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "0 sampling steps"),
        ({"steps": None}, "a whole number is needed"),
        ({"guidance_text": -1.0}, "from 0 to 20"),
        ({"guidance_motion": math.nan}, "for the motion"),
        ({"guidance_history": 1e9}, "2 is strong"),
        ({"guidance_text": None}, "scale of None"),
        ({"history_noise": 1.0}, "from 0 to below 1"),
        ({"history_noise": math.nan}, "the level that was trained"),
        ({"recent": 0}, "at least one recent chunk"),
    ],
)
def test_impossible_numbers_are_refused_when_the_value_is_made(change, message):
    with pytest.raises(BadRequest, match=message):
        Sampling(**change)


def test_unknown_names_are_refused_with_the_closest_one():
    with pytest.raises(UnknownName, match="Did you mean 'heun'"):
        Sampling(sampler="hen")
    with pytest.raises(UnknownName, match="Did you mean 'window'"):
        Sampling(memory="windw")


def test_words_say_what_differs_from_the_default():
    assert Sampling().words() == []
    asked = Sampling(steps=4, guidance_text=2.0, recent=3)
    assert asked.words() == ["--steps", "4", "--guidance-text", "2.0", "--recent", "3"]


def test_every_field_has_a_help_and_is_recorded():
    assert all(field.metadata["help"] for field in fields(Sampling))
    assert set(Sampling().to_json()) == {field.name for field in fields(Sampling)}
