"""The vision-language guide with tiny random models."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_observation
from tiny_vlm import WORDS, write_other_vlm, write_vlm

from worldmodel import vlm_guide
from worldmodel.errors import BadCheckpoint, BadRequest
from worldmodel.geometry import Camera, Rig, Trajectory, look_along
from worldmodel.guidance import GuideContext
from worldmodel.sampling import Sampling
from worldmodel.vlm_guide import VlmGuide, one_sentence, pictures_of, question_about


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_vlm(tmp_path_factory.mktemp("vlm") / "tiny")


@pytest.fixture(scope="module")
def guide(folder):
    return VlmGuide(str(folder))


def at(observation, chunk=0, texts=()):
    """The context of a chunk."""
    return GuideContext(
        chunk=chunk,
        time_s=chunk * 0.5,
        observation=observation,
        trajectory=Trajectory(poses=np.zeros((1, 3)), times_s=np.zeros(1)),
        texts=texts,
        plan=lambda samples: pytest.fail(f"no {samples} plans are needed"),
    )


# -- answers ----------------------------------------------------------------------------------------------------------


def test_a_model_looks_at_a_chunk_and_says_a_short_sentence(guide):
    text = guide.hint(at(make_observation(4)))
    assert text
    assert set(text.split()) <= {*WORDS, "keep", "going"}
    assert len(text.split()) <= vlm_guide.MAX_WORDS


def test_other_pictures_other_words_and_the_same_chunk_the_same(folder, monkeypatch):
    monkeypatch.setattr(vlm_guide, "QUESTION", "turn")  # so that such a small model looks at the pictures
    guide, plain = VlmGuide(str(folder)), make_observation(4)
    colours = np.random.default_rng(0).integers(0, 256, (6, 3, 1, 1), dtype=np.uint8)
    contexts = [at(replace(plain, video=np.broadcast_to(one, plain.video.shape))) for one in colours]
    said = [guide.hint(context) for context in contexts]
    assert len(set(said)) > 1
    assert [VlmGuide(str(folder)).hint(context) for context in contexts[:2]] == said[:2]


def test_a_model_of_another_family_is_asked_the_same_way(tmp_path):
    guide = VlmGuide(str(write_other_vlm(tmp_path / "other")))
    text = guide.hint(at(make_observation(4)))
    assert text
    assert set(text.split()) <= {*WORDS, "keep", "going"}


def test_a_chunk_is_asked_about_once(guide, monkeypatch):
    context = at(make_observation(4, seed=9))
    first = guide.hint(context)
    monkeypatch.setattr(guide, "_model", None)
    assert guide.hint(context) == first


def test_old_answers_make_room(folder, monkeypatch):
    monkeypatch.setattr(vlm_guide, "CACHE_SIZE", 2)
    guide = VlmGuide(str(folder))
    for seed in range(4):
        guide.hint(at(make_observation(4, seed=seed)))
    assert len(guide._cache) == 2


def test_between_two_questions_the_last_text_goes_on(folder, monkeypatch):
    guide = VlmGuide(str(folder), every=2)
    asked = []
    monkeypatch.setattr(guide, "_answer", lambda *_: asked.append(1) or f"answer {len(asked)}")
    texts = ()
    for chunk in range(5):
        texts = (*texts, guide.hint(at(make_observation(4, seed=chunk), chunk, texts)))
    assert texts == ("answer 1", "answer 1", "answer 2", "answer 2", "answer 3")


def test_who_says_nothing_leaves_the_instruction(guide, monkeypatch):
    monkeypatch.setattr(guide, "_answer", lambda *_: " \n. \n")
    assert guide.hint(at(make_observation(4, seed=77, instruction="turn left"))) == "turn left"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("Slow down, the light is red. Then go on.", "Slow down, the light is red"),
        ("\n\n  - 'turn left!' I would say", "turn left"),
        ("go on at 3.5 m/s", "go on at 3.5 m/s"),
        ("stop\x00\x1b[31m now", "stop [31m now"),
        ("word " * 50, " ".join(["word"] * vlm_guide.MAX_WORDS)),
        ("x" * 1000, ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_an_answer_becomes_one_short_sentence(answer, sentence):
    assert one_sentence(answer) == sentence


# -- questions --------------------------------------------------------------------------------------------------------


def test_the_question_tells_speed_and_instruction():
    question = question_about(make_observation(4, instruction="turn left <image> [INST]"))
    assert "3 cameras" in question
    assert "0.5 seconds" in question
    assert "metres per second" in question
    assert "You were told: turn left image INST." in question
    silent = question_about(make_observation(4, instruction="", motion=False))
    assert "told:" not in silent
    assert "metres per second" not in silent


def test_pictures_show_the_cameras_from_left_to_right_and_the_newest_frame_last():
    observation = make_observation(4, cameras=3)
    cameras = tuple(
        Camera(
            name=name,
            intrinsics=camera.intrinsics,
            ego_from_camera=look_along(np.radians(degrees), np.zeros(3)),
            width_px=camera.width_px,
            height_px=camera.height_px,
        )
        for camera, name, degrees in zip(observation.rig.cameras, ("front", "right", "left"), (0, -55, 55), strict=True)
    )
    observation = replace(observation, rig=Rig(cameras=cameras))
    shown = pictures_of(observation, 2)
    assert [picture.size for picture in shown] == [(3 * 64, 32)] * 2
    newest = np.asarray(shown[-1]).transpose(2, 0, 1)
    assert (newest == np.concatenate([observation.video[-1, i] for i in (2, 0, 1)], axis=-1)).all()
    assert (np.asarray(shown[0]).transpose(2, 0, 1)[..., :64] == observation.video[0, 2]).all()
    assert len(pictures_of(observation, 99)) == 4
    [only] = pictures_of(observation, 1)
    assert (np.asarray(only) == np.asarray(shown[-1])).all()


# -- rollouts ---------------------------------------------------------------------------------------------------------


def test_a_model_steers_a_rollout_chunk_by_chunk(tiny_model, observation, guide):
    rollout = tiny_model.imagine(observation, seconds=1.0, guide=guide, sampling=Sampling(steps=1))
    assert len(rollout.texts) == 2
    assert rollout.texts[0] == guide.hint(
        at(replace(observation, video=observation.video[-4:], motion=observation.motion[-3:]))
    )


# -- loading ----------------------------------------------------------------------------------------------------------


def test_a_model_without_a_chat_template_is_asked_too(tmp_path):
    guide = VlmGuide(str(write_vlm(tmp_path / "plain", template=None)), frames=1)
    assert guide.hint(at(make_observation(4)))


def test_weights_in_pickles_are_refused(tmp_path, folder):
    import shutil

    from safetensors.torch import load_file

    other = shutil.copytree(folder, tmp_path / "pickled")
    torch.save(load_file(other / "model.safetensors"), other / "pytorch_model.bin")
    (other / "model.safetensors").unlink()
    with pytest.raises(BadCheckpoint, match="safetensors"):
        VlmGuide(str(other))


def test_missing_weights_are_refused(tmp_path, folder):
    import shutil

    from safetensors.torch import load_file, save_file

    other = shutil.copytree(folder, tmp_path / "partial")
    tensors = load_file(other / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if "lm_head" not in name},
        other / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(BadCheckpoint, match="lacks 1 tensors"):
        VlmGuide(str(other))


def test_other_models_and_none_at_all_are_refused(tmp_path):
    from transformers import BertConfig, BertModel

    with pytest.raises(BadCheckpoint, match="cannot be loaded"):
        VlmGuide(str(tmp_path / "none"))
    BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    ).save_pretrained(tmp_path)
    with pytest.raises(BadCheckpoint, match="image-text-to-text"):
        VlmGuide(str(tmp_path))


@pytest.mark.parametrize("values", [{"frames": 0}, {"every": 0}])
def test_impossible_questions_are_refused_before_anything_is_loaded(values):
    with pytest.raises(BadRequest, match="at least 1"):
        VlmGuide("none", **values)
