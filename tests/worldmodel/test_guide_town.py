from types import SimpleNamespace

import pytest

from worldmodel.errors import ClipTooShort
from worldmodel.town.guide import TownGuide
from worldmodel.town.traffic import simulate
from worldmodel.town.words.hints import hints


@pytest.fixture(scope="module")
def scene():
    return simulate("empty_road", 3, seconds=2.0)


def at(time_s):
    """All that this guide looks at."""
    return SimpleNamespace(time_s=time_s)


def test_the_town_guide_says_the_hint_of_the_moment(scene):
    expected = [hint.text for hint in hints(scene)]
    assert [TownGuide(scene).hint(at(i * 0.5)) for i in range(4)] == expected
    assert [TownGuide(scene, 1.0).hint(at(i * 0.5)) for i in range(2)] == expected[2:]
    assert all(expected)


def test_after_its_scene_the_town_guide_is_silent(scene):
    assert TownGuide(scene, 1.5).hint(at(0.5)) == ""


@pytest.mark.parametrize("at_s", [-0.5, 2.0])
def test_a_moment_outside_the_scene_is_refused(scene, at_s):
    with pytest.raises(ClipTooShort, match="lasts 2 s"):
        TownGuide(scene, at_s)
