from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_model
from numpy.testing import assert_allclose
from scipy import ndimage

from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadCheckpoint
from worldmodel.telemetry import (
    MEASURES,
    batch_telemetry,
    chunk_telemetry,
    drift_warnings,
    joined_ranges,
    measure_training_range,
    outside,
    training_range,
)

CALM = {**dict.fromkeys(MEASURES, 0.5), "speed_mps": 8.0}


def pictures(seed=0, frames=4):
    """Smooth coloured pictures that move sideways, uint8 [frames, 2, 3, 16, 32]."""
    random = np.random.default_rng(seed)
    one = ndimage.gaussian_filter(random.normal(size=(2, 3, 16, 32)), (0, 0, 1, 1), mode="wrap")
    one = 128 + 60 * one / one.std()
    return np.stack([np.roll(one, 2 * t, axis=-1) for t in range(frames)]).clip(0, 255).astype(np.uint8)


def latents(seed=0, frames=4):
    return torch.randn(frames, 2, 4, 2, 4, generator=torch.Generator().manual_seed(seed))


def test_latent_measures_are_mean_and_variance():
    values = latents() * 2 + 1
    found = chunk_telemetry(values, pictures(), 5.0)
    assert found["latent_mean"] == pytest.approx(float(values.mean()))
    assert found["latent_variance"] == pytest.approx(float(values.var(correction=0)), rel=1e-6)
    assert set(found) == {*MEASURES, "speed_mps"}
    assert found["speed_mps"] == 5


def test_sharpness_falls_with_blur_rises_with_noise_and_ignores_contrast():
    plain = pictures()
    blurred = ndimage.gaussian_filter(plain.astype(float), (0, 0, 0, 2, 2)).astype(np.uint8)
    noisy = np.random.default_rng(1).normal(plain, 30).clip(0, 255).astype(np.uint8)
    flat = (plain.astype(float) / 4 + 96).round().astype(np.uint8)
    sharp, soft, grainy, pale = (chunk_telemetry(latents(), p, 5)["sharpness"] for p in (plain, blurred, noisy, flat))
    assert soft < 0.8 * sharp
    assert grainy > 1.2 * sharp
    assert pale == pytest.approx(sharp, rel=0.05)
    assert chunk_telemetry(latents(), np.full_like(plain, 7), 5)["sharpness"] == 0


def test_colour_measures_tell_light_from_colour():
    grey, red = np.full((2, 4, 1, 3, 8, 8), 100, np.uint8)
    red = red.copy()
    red[:, :, 0] = 160
    plain, tinted = (chunk_telemetry(latents(), p, 5) for p in (grey, red))
    assert (plain["brightness"], plain["contrast"], plain["colourfulness"]) == (100, 0, 0)
    assert tinted["colourfulness"] == 60
    assert tinted["brightness"] == 120


def test_a_repeated_frame_is_frozen_and_one_frame_cannot_be():
    plain = pictures()
    assert chunk_telemetry(latents(), plain, 5)["frozen_share"] < 0.2
    assert chunk_telemetry(latents(), np.repeat(plain[:1], 4, axis=0), 5)["frozen_share"] == 1
    assert chunk_telemetry(latents(), plain[:1], 5)["frozen_share"] == 0


def test_every_sample_of_a_batch_is_measured_alone():
    values, videos = torch.stack([latents(0), latents(1)]), np.stack([pictures(0), pictures(1)])
    ways = [np.cumsum(np.full((9, 3), (step, 0.0, 0.0)), axis=0) for step in (1.0, 0.25)]
    found = batch_telemetry(values, videos, ways, 8.0)
    assert [one["speed_mps"] for one in found] == pytest.approx([8.0, 2.0])
    for i in range(2):
        assert found[i] == chunk_telemetry(values[i], videos[i], found[i]["speed_mps"])


def test_the_range_leaves_out_single_outliers_and_standing_cars():
    random = np.random.default_rng(0)
    chunks = [{**CALM, "sharpness": x, "frozen_share": x} for x in random.uniform(0.4, 0.6, 5000)]
    chunks += [{**CALM, "sharpness": 9.0}, {**CALM, "speed_mps": 0.0, "frozen_share": 1.0}]
    found = training_range(chunks)
    assert set(found) == set(MEASURES)
    assert_allclose(found["sharpness"], (0.38, 0.62), atol=0.005)
    assert found["frozen_share"][1] < 0.7
    assert outside({**CALM, "sharpness": 0.3}, found) == ("sharpness",)
    assert outside({**CALM, "frozen_share": 1.0}, found) == ("frozen_share",)
    assert outside({**CALM, "frozen_share": 1.0, "speed_mps": 0.5}, found) == ()
    assert training_range([]) == {}


def test_a_warning_names_measure_chunk_time_value_and_range_once():
    chunks = [CALM, CALM, {**CALM, "sharpness": 0.1}, {**CALM, "sharpness": 0.05, "contrast": 3.0}]
    ranges = {"sharpness": (0.4, 0.6), "contrast": (0.0, 1.0), "brightness": (0.0, 1.0)}
    first, second = drift_warnings(chunks, ranges, first_chunk=10, chunk_s=0.5)
    assert first.startswith("chunk 12 (6 s): sharpness is 0.1, but it was 0.4 to 0.6 in training; so it is in 2 of 4")
    assert second.startswith("chunk 13 (6.5 s): contrast is 3")
    assert drift_warnings(chunks, {}, first_chunk=0, chunk_s=0.5) == ()


def of_drift(rollout):
    return [text for text in rollout.warnings if "in training" in text]


def test_a_rollout_warns_when_it_leaves_the_training_range(observation):
    model = make_model()
    calm = model.imagine(observation, seconds=1.0)
    assert of_drift(calm) == []
    assert len(calm.telemetry) == 2
    assert set(calm.telemetry[0]) == {*MEASURES, "speed_mps"}
    model.config = replace(model.config, training_range={"brightness": (300.0, 400.0)})
    [warning] = of_drift(model.imagine(observation, seconds=1.0))
    assert warning.startswith("chunk 0 (0 s): brightness is")
    assert "2 of 2 chunks" in warning


def test_warnings_of_a_continued_rollout_count_from_the_first_chunk_of_all(observation):
    model = make_model(training_range={"brightness": (300.0, 400.0)})
    begun = model.imagine(observation, seconds=1.0)
    [rest] = model.go_on(begun.past, seconds=0.5, seeds=[0])
    assert of_drift(rest)[0].startswith("chunk 2 (1 s)")


def test_the_training_range_holds_what_it_was_measured_on(tiny_model):
    random = torch.Generator().manual_seed(0)
    values = torch.randn(6, 8, 3, 4, 2, 4, generator=random).numpy()
    deltas = np.tile((1.0, 0.0, 0.0), (6, 7, 1))
    found = measure_training_range(tiny_model.tokenizer, values, deltas, frames_per_chunk=4, frequency_hz=8.0)
    assert set(found) == set(MEASURES)
    for clip in values:
        chunk = torch.from_numpy(clip[:4])
        assert outside(chunk_telemetry(chunk, tiny_model.tokenizer.decode_video(chunk), 8.0), found) == ()
    shifted = torch.from_numpy(values[0, :4]) + 2
    assert "latent_mean" in outside(chunk_telemetry(shifted, tiny_model.tokenizer.decode_video(shifted), 8.0), found)


def test_ranges_of_several_data_sets_are_joined():
    found = joined_ranges([{"sharpness": (0.4, 0.6)}, {"sharpness": (0.5, 0.9), "contrast": (1.0, 2.0)}])
    assert found == {"sharpness": (0.4, 0.9), "contrast": (1.0, 2.0)}
    assert joined_ranges([]) == {}


def test_the_range_is_part_of_the_checkpoint_and_older_ones_load_without(tmp_path):
    model = make_model(training_range={"sharpness": (0.5, 1.0)})
    model.save_pretrained(tmp_path / "new")
    assert type(model).from_pretrained(tmp_path / "new").config.training_range == {"sharpness": (0.5, 1.0)}
    old = WorldModelConfig()
    assert old.training_range == {}


@pytest.mark.parametrize("limits", [(1.0, 0.0), (0.0, float("nan")), (0.0,), "ab"])
def test_an_impossible_range_is_refused(limits):
    with pytest.raises(BadCheckpoint, match=r"training_range of sharpness .* two finite numbers"):
        WorldModelConfig(training_range={"sharpness": limits})
