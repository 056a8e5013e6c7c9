import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from makers import make_clip

from worldmodel.clips import Instruction
from worldmodel.errors import BadDataset
from worldmodel.sequence import ray_features
from worldmodel.text_encoders import HashTextEncoder
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate
from worldmodel.town.words.descriptions import describe
from worldmodel.town.words.hints import hint_at, hints
from worldmodel.training.encoded import Encoded
from worldmodel.training.presets import find_preset
from worldmodel.training.store import Store, clip_samples
from worldmodel.training.tasks import WorldActionTask
from worldmodel.training.town_store import add_words, town_store
from worldmodel.training.words import FILE, Words, read_words, spoken_of, town_words, write_words

PRESET = replace(find_preset("test"), text_drop=0.0, hint_share=0.5, description_share=0.2)
SCENES = [("street", 5), ("stop_and_go", 7)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("data") / "store"
    return town_store(folder, SCENES, town_rig(1, 64, 32), video_s=2.0, scene_s=6.0, frequency_hz=8.0)


def encoded(store: Store) -> Encoded:
    latents = np.zeros((*store.video.shape[:3], 4, 2, 4), np.float16)
    return Encoded.of(store, latents, ray_features(store.rig, PRESET.model.network.grid), HashTextEncoder(32))


# -- what is said when ------------------------------------------------------------------------------------------------


def test_instructions_hold_until_the_next_one() -> None:
    told = (Instruction(text="turn left", start_s=1.0, end_s=3.0), Instruction(text="follow the road", start_s=4.0))
    assert spoken_of(told) == ((1.0, "turn left"), (3.0, ""), (4.0, "follow the road"))
    assert spoken_of(told, 2.0) == ((0.0, "turn left"), (1.0, ""), (2.0, "follow the road"))
    assert spoken_of(told, 9.0) == ((0.0, "follow the road"),)
    assert spoken_of(()) == ()


def test_repeats_are_told_once_and_the_later_instruction_counts() -> None:
    again = (Instruction(text="go", start_s=0.0, end_s=0.5), Instruction(text="go", start_s=0.5, end_s=1.0))
    assert spoken_of(again) == ((0.0, "go"), (1.0, ""))
    both = (Instruction(text="go"), Instruction(text="stop", start_s=2.0, end_s=4.0))
    assert spoken_of(both) == ((0.0, "go"), (2.0, "stop"), (4.0, "go"))


def test_words_of_a_moment() -> None:
    words = Words(instruction=((1.0, "turn left"), (3.0, "")), description=((0.0, "It is a wet day."),))
    assert [words.at("instruction", t) for t in (0.0, 1.0, 2.9, 3.0)] == ["", "turn left", "turn left", ""]
    assert words.at("hint", 1.0) == ""
    assert words.texts() == {"turn left", "", "It is a wet day."}


def test_the_town_says_what_happens_in_each_half_second() -> None:
    scene = simulate("stop_and_go", 7, seconds=6.0)
    words = town_words(scene)
    for time_s in np.arange(0.0, 6.0, 0.25):
        assert words.at("hint", time_s) == hint_at(hints(scene), time_s)
    assert words.at("instruction", 0.0) == scene.instructions[0].text
    assert describe(scene).startswith(words.at("description", 3.0).rstrip("."))
    assert len(words.hint) < 12  # repeats are left out


def test_windows_of_a_recording_know_what_was_told_then() -> None:
    clip = replace(
        make_clip(32), instructions=(Instruction(text="go", end_s=2.5), Instruction(text="stop", start_s=2.5))
    )
    first, second = clip_samples(clip, clip.rig, 16, 16)
    assert first.words is not None
    assert second.words is not None
    assert first.words.instruction == ((0.0, "go"), (2.5, "stop"))
    assert second.words.instruction == ((0.0, "go"), (0.5, "stop"))


# -- on disk ----------------------------------------------------------------------------------------------------------


def test_a_store_keeps_its_words(store: Store) -> None:
    assert store.words == tuple(town_words(simulate(*scene, seconds=6.0)) for scene in SCENES)
    assert Store.open(store.folder).words == store.words


def test_an_older_store_gets_its_words_later_and_works_without(store: Store) -> None:
    words = store.words
    (store.folder / FILE).unlink()
    older = Store.open(store.folder)
    assert older.words is None
    done: list[tuple[int, int]] = []
    assert add_words(older, progress=lambda *at: done.append(at)) == 0
    assert Store.open(store.folder).words == words
    assert done == [(1, 2), (2, 2)]


def test_a_scene_that_moves_otherwise_by_now_keeps_its_one_text(store: Store, tmp_path: Path) -> None:
    moved = store.deltas + np.array([0.0, 0.1])[:, None, None]
    assert add_words(replace(store, deltas=moved), tmp_path) == 1
    first, second = read_words(tmp_path, 2) or ()
    assert store.words is not None
    assert first == store.words[0]
    assert second == Words(instruction=((0.0, store.texts[1]),))


def test_words_are_not_added_to_other_drives(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="2 of 2 scenes"):
        add_words(replace(store, deltas=store.deltas + 0.1), tmp_path)
    with pytest.raises(BadDataset, match="holds recordings"):
        add_words(replace(store, made_from={"dataset": "drives"}), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["{", "[]", '[{"hints": []}]', "[[0]]", '[{"instruction": [["a"]]}]'])
def test_broken_words_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(BadDataset, match="Delete it"):
        read_words(tmp_path, 1)


def test_words_are_plain_json(tmp_path: Path) -> None:
    words = Words(instruction=((0.0, "go on"),), hint=((0.5, "slow down, the light is red"),))
    write_words(tmp_path, [words])
    assert json.loads((tmp_path / FILE).read_text())[0]["hint"] == [[0.5, "slow down, the light is red"]]
    assert read_words(tmp_path, 1) == (words,)


# -- in training ------------------------------------------------------------------------------------------------------


def test_every_chunk_hears_its_own_words(store: Store) -> None:
    data, random = encoded(store), np.random.default_rng(0)
    names = {row: text for text, row in data.rows.items()}
    assert store.words is not None
    heard = []
    for _ in range(60):
        rows = data.texts_of(1, [0, 4, 8, 12], 4, PRESET, random)
        heard.append(tuple(names[row] for row in rows))
    words = store.words[1]
    expected = {
        tuple(words.at("hint", t) for t in (0.1875, 0.6875, 1.1875, 1.6875)),
        (words.at("instruction", 0.0),) * 4,
        (words.at("description", 0.0),) * 4,
    }
    assert set(heard) == expected
    hints_heard = sum(len(set(one)) > 1 for one in heard)
    assert 15 < hints_heard < 45


def test_silence_is_drawn_as_often_as_asked(store: Store) -> None:
    data, random = encoded(store), np.random.default_rng(0)
    silent = replace(PRESET, text_drop=1.0)
    assert set(data.texts_of(0, [0, 4], 4, silent, random)) == {data.rows[""]}


def test_a_store_without_words_tells_its_one_text(store: Store) -> None:
    data = encoded(replace(store, words=None))
    for clip, text in enumerate(store.texts):
        assert set(data.texts_of(clip, [0, 4], 4, PRESET, np.random.default_rng(0))) == {data.rows[text]}


def test_clips_without_hints_hear_the_instruction(store: Store) -> None:
    plain = tuple(Words(instruction=((0.0, "go on"),)) for _ in range(2))
    data, random = encoded(replace(store, words=plain)), np.random.default_rng(0)
    for _ in range(20):
        assert set(data.texts_of(0, [0, 4], 4, PRESET, random)) == {data.rows["go on"]}


def test_a_batch_carries_the_features_of_each_chunks_text(store: Store) -> None:
    preset = replace(PRESET, hint_share=1.0, description_share=0.0)
    task = WorldActionTask(
        "chunk", preset.model, [encoded(store)], preset, chunks=4, first_noisy=1, own_history=0.0, seed=0
    )
    batch = task.batch(0, 0, 1)
    assert batch["text"].shape == (preset.batch_clips, 3, 16, 32)
    assert batch["text_valid"].shape == (preset.batch_clips, 3, 16)
    differs = (batch["text"][:, 0] != batch["text"][:, -1]).flatten(1).any(1)
    assert differs.any()
