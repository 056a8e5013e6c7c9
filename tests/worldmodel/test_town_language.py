import json

import pytest

from worldmodel.clips import MAX_INSTRUCTION_CHARACTERS
from worldmodel.errors import UnknownName
from worldmodel.town.dataset import SPLITS
from worldmodel.town.language import FIRST_TEST_SEED, narration, split_of
from worldmodel.town.phrases import WORDINGS, forms, phrase, texts
from worldmodel.town.situations import SITUATIONS, generator
from worldmodel.town.traffic import simulate

LONGEST_S = 8


@pytest.mark.parametrize("manoeuvre", WORDINGS)
def test_every_manoeuvre_is_said_in_many_ways_and_some_are_kept_for_testing(manoeuvre: str) -> None:
    train, test = texts(manoeuvre, "train"), texts(manoeuvre, "test")
    assert len(train) >= 60
    assert len(test) >= 60
    assert not set(train) & set(test)
    assert {form.kept for form in forms(manoeuvre)} == {"", "verb", "politeness", "combination"}
    assert any(text.startswith(WORDINGS[manoeuvre].verbs[0]) for text in train)
    for text in (*train, *test):
        assert len(text) <= MAX_INSTRUCTION_CHARACTERS
        assert "  " not in text
        assert text == text.strip()
        assert not text[-1].isspace()


def test_an_unknown_manoeuvre_or_split_is_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'left'"):
        phrase("lefft", generator("street", 0, "language"))
    with pytest.raises(UnknownName, match="split"):
        texts("left", "val")


def test_only_seeds_of_the_test_range_hear_the_texts_kept_for_it() -> None:
    assert SPLITS["test"] == FIRST_TEST_SEED
    assert split_of(FIRST_TEST_SEED - 1) == "train"
    assert split_of(FIRST_TEST_SEED) == "test"
    for situation in ("street", "intersection"):
        for seed in range(4):
            for base, split in ((0, "train"), (1_000_000, "train"), (2_000_000, "test")):
                told = simulate(situation, base + seed, seconds=0.5).instructions
                everything = {text for manoeuvre in WORDINGS for text in texts(manoeuvre, split)}
                assert {one.text for one in told} <= everything


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_narration_is_plain_data_and_the_same_every_time(situation: str) -> None:
    scene = simulate(situation, 5, seconds=4)
    told = narration(scene)
    text = json.dumps(told.as_dict(), allow_nan=False)
    assert text == json.dumps(narration(simulate(situation, 5, seconds=4)).as_dict())
    assert len(told.hints) == 8
    assert len(told.decisions) == len(scene)
    assert told.description.endswith(".")
