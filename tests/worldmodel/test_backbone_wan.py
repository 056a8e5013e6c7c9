"""Wan as the video expert: a tiny random checkpoint in diffusers' own form, behind the interface of our own model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_wan import write_tiny_wan
from torch import Tensor
from torch.testing import assert_close

import worldmodel.backbones.tokens as tokens_module
from worldmodel.attention import Stream
from worldmodel.backbones.autoencoder import WanTokenizer
from worldmodel.backbones.files import find_wan
from worldmodel.backbones.low_rank import add_low_rank, merge_low_rank
from worldmodel.backbones.model import WanWorldModel, is_wan, parse_spec
from worldmodel.checkpoints import read_json, write_json
from worldmodel.errors import BadCheckpoint, BadRequest, BadVideo
from worldmodel.geometry import Camera, Motion, Rig, Trajectory
from worldmodel.guidance import FixedGuide, ScheduleGuide
from worldmodel.memory import Full, make_memory
from worldmodel.memory.entries import joined
from worldmodel.model import WorldModel
from worldmodel.plans import Observation
from worldmodel.sampler import euler
from worldmodel.sampling import Sampling
from worldmodel.sequence import RAY_FEATURES, FramesPart, GuidancePart, PlanPart, TokenSequence

HEIGHT, WIDTH, BATCH = 32, 64, 2


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_wan(tmp_path_factory.mktemp("wan") / "tiny", shards=True)


@pytest.fixture(scope="session")
def world(folder: Path) -> WanWorldModel:
    return WanWorldModel.from_pretrained(f"wan:{folder}@{HEIGHT}x{WIDTH}@8")


@pytest.fixture(scope="session")
def trained(folder: Path) -> WanWorldModel:
    """The same with additions that are not zero, as if they had been trained."""
    model = WanWorldModel.from_pretrained(f"wan:{folder}@{HEIGHT}x{WIDTH}@8")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def videos(frames: int, cameras: int = 1, batch: int = BATCH, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (batch, frames, cameras, 3, HEIGHT, WIDTH), dtype=np.uint8)


def rig(cameras: int = 1) -> Rig:
    one = [[60.0, 0, WIDTH / 2], [0, 60.0, HEIGHT / 2], [0, 0, 1]]
    turned = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]])
    names = ("front", "left", "right")[:cameras]
    made = [
        Camera(name=n, intrinsics=np.array(one), ego_from_camera=turned, width_px=WIDTH, height_px=HEIGHT)
        for n in names
    ]
    return Rig(cameras=tuple(made))


def observation(frames: int = 8, cameras: int = 1, text: str = "turn left") -> Observation:
    deltas = np.tile([0.5, 0.0, 0.01], (frames - 1, 1))
    return Observation(
        video=videos(frames, cameras)[0],
        rig=rig(cameras),
        motion=Motion(deltas=deltas, period_s=1 / 8),
        frequency_hz=8.0,
        instruction=text,
    )


def ahead(seconds: float) -> Trajectory:
    times = np.arange(round(seconds * 8) + 1) / 8
    return Trajectory(poses=np.stack([4.0 * times, 0 * times, 0 * times], axis=1), times_s=times)


# -- files ------------------------------------------------------------------------------------------------------------


def test_the_files_say_sizes_shift_and_strides(folder: Path) -> None:
    files = find_wan(folder)
    assert (files.spatial_stride, files.patch, files.flow_shift, files.noise_steps) == (8, 2, 3.0, 1000)
    assert len(list((folder / "transformer").glob("*-of-*.safetensors"))) > 1
    assert files.fingerprint() == find_wan(folder).fingerprint()


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("transformer", {"image_dim": 1280}, "image-to-video"),
        ("transformer", {"_class_name": "FluxTransformer2DModel"}, "FluxTransformer2DModel"),
        ("transformer", {"patch_size": [2, 2, 2]}, "patch_size"),
        ("transformer", {"out_channels": 8}, "reads 4 channels and says 8"),
        ("transformer", {"text_dim": 99}, "d_model is 16"),
        ("vae", {"latents_std": [1.0]}, "latents_mean and latents_std"),
        ("vae", {"latents_std": [1.0, 1.0, 0.0, 1.0]}, "not positive"),
        ("vae", {"temperal_downsample": [False, False, True]}, "one latent frame of 2"),
        ("scheduler", {"prediction_type": "epsilon"}, "is no flow"),
    ],
)
def test_other_models_are_refused_by_name(
    folder: Path, tmp_path: Path, part: str, change: dict[str, object], message: str
) -> None:
    for path in ("model_index.json", "transformer/config.json", "vae/config.json", "text_encoder/config.json"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        write_json(tmp_path / path, read_json(folder / path))
    (tmp_path / "scheduler").mkdir()
    write_json(tmp_path / "scheduler/scheduler_config.json", read_json(folder / "scheduler/scheduler_config.json"))
    file = tmp_path / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    write_json(file, {**read_json(file), **change})
    with pytest.raises(BadCheckpoint, match=message):
        find_wan(tmp_path)


def test_missing_shards_and_folders_say_what_to_do(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    min((copy / "transformer").glob("*-of-*.safetensors")).unlink()
    with pytest.raises(BadCheckpoint, match="Download or copy the folder again"):
        WorldModel.from_pretrained(f"wan:{copy}@32x64")
    with pytest.raises(BadCheckpoint, match="is missing"):
        find_wan(tmp_path)


def test_names_say_folder_size_and_rate() -> None:
    spec = parse_spec("wan:some/folder@256x448@16")
    assert (spec.source, spec.height_px, spec.width_px, spec.frequency_hz) == ("some/folder", 256, 448, 16.0)
    assert parse_spec("wan:org/name").height_px == 480
    assert is_wan("wan:org/name")
    assert not is_wan("assets/default")
    with pytest.raises(BadCheckpoint, match="is no name"):
        parse_spec("wan:")


def test_pictures_that_do_not_divide_are_refused(folder: Path) -> None:
    with pytest.raises(BadCheckpoint, match="multiples of 16"):
        WorldModel.from_pretrained(f"wan:{folder}@40x64")


# -- the autoencoder --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", params=["2.1", "2.2"])
def tokenizer(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> WanTokenizer:
    if request.param == "2.1":
        return WanTokenizer.of(find_wan(folder))
    return WanTokenizer.of(find_wan(write_tiny_wan(tmp_path_factory.mktemp("wan") / "patched", patched=True)))


def test_chunks_are_coded_without_seams(tokenizer: WanTokenizer) -> None:
    video = videos(12, cameras=2)
    whole, _ = tokenizer.encode_on(video)
    state, parts = None, []
    for start in (0, 4, 8):
        latents, state = tokenizer.encode_on(video[:, start : start + 4], state)
        parts.append(latents)
    assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-5)
    decoded, _ = tokenizer.decode_on(whole)
    state, pieces = None, []
    for index in range(3):
        piece, state = tokenizer.decode_on(whole[:, index : index + 1], state)
        pieces.append(piece)
    assert np.abs(np.concatenate(pieces, axis=1).astype(int) - decoded).max() <= 1
    assert decoded.shape == video.shape


def test_coding_equals_that_of_diffusers(tokenizer: WanTokenizer) -> None:
    video = videos(12)
    latents, _ = tokenizer.encode_on(video)
    pictures = torch.from_numpy(video[0, 3:, 0]).float().transpose(0, 1)[None] / 127.5 - 1
    mean, std = (value[:, None, None, None] for value in (tokenizer.mean, tokenizer.std))
    with torch.no_grad():
        theirs = tokenizer.autoencoder.encode(pictures).latent_dist.mode()
        shown = tokenizer.autoencoder.decode(theirs).sample
    assert_close(latents[0, :, 0], ((theirs - mean) / std)[0].transpose(0, 1), rtol=0, atol=1e-5)
    decoded, _ = tokenizer.decode_on(latents)
    ours = torch.from_numpy(decoded[0, 3:, 0]).float() / 127.5 - 1
    assert_close(ours, shown[0].transpose(0, 1), rtol=0, atol=1.01 / 255)
    assert (decoded[0, :3] == decoded[0, 3]).all()


def test_imagined_chunks_join_the_recorded_ones_without_a_seam(tokenizer: WanTokenizer) -> None:
    video = videos(16)
    latents, _ = tokenizer.encode_on(video)
    whole, _ = tokenizer.decode_on(latents)
    _, state = tokenizer.encode_on(video[:, :8])
    later, after = tokenizer.decode_on(latents[:, 2:3], state)
    last, _ = tokenizer.decode_on(latents[:, 3:], after)
    assert np.abs(np.concatenate([later, last], axis=1).astype(int) - whole[:, 8:]).max() <= 1
    alone, _ = tokenizer.decode_on(latents[:, 2:3])
    assert np.abs(alone[:, 3:].astype(int) - whole[:, 11:12]).max() > 1, (
        "the past must matter, or the test shows nothing"
    )


def test_states_are_values_that_two_futures_can_share(tokenizer: WanTokenizer) -> None:
    latents, state = tokenizer.encode_on(videos(8))
    first, _ = tokenizer.decode_on(latents[:, :1], state)
    tokenizer.decode_on(latents[:, 1:], state)
    again, _ = tokenizer.decode_on(latents[:, :1], state)
    assert (first == again).all()


def test_single_pictures_are_streams_of_one_frame(tokenizer: WanTokenizer) -> None:
    video = videos(4)
    latents, _ = tokenizer.encode_on(video)
    assert_close(tokenizer.encode(video[0, 3]), latents[0, 0], rtol=0, atol=1e-5)
    assert tokenizer.decode(latents[0, 0]).shape == (1, 3, HEIGHT, WIDTH)


def test_frames_that_are_no_whole_chunks_are_refused(tokenizer: WanTokenizer) -> None:
    with pytest.raises(BadVideo, match="multiples of 4"):
        tokenizer.encode_on(videos(6))


# -- the network ------------------------------------------------------------------------------------------------------


def given_texts(world: WanWorldModel, chunks: list[int]) -> GuidancePart:
    features, valid = world.text_encoder.encode(["turn left", "go straight"])
    count = len(chunks)
    return GuidancePart(
        chunks=torch.tensor(chunks),
        features=features[:, None].expand(-1, count, -1, -1),
        valid=valid[:, None].expand(-1, count, -1),
    )


def some(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def frames_part(world: WanWorldModel, chunks: range, *, clean: bool, cameras: int = 1, seed: int = 0) -> FramesPart:
    """Chunks of a fixed random clip (6 chunks), so that any range of it has the same values."""
    network, per = world.config.network, 4
    shape = (BATCH, 6, cameras, network.latent_channels, network.latent_height, network.latent_width)
    frames = slice(per * chunks.start, per * chunks.stop)
    return FramesPart(
        frames=torch.arange(24)[frames],
        clean=clean,
        video=some(shape, seed)[:, chunks.start : chunks.stop],
        video_time=torch.full((BATCH, 24), 0.05 if clean else 0.7)[:, frames],
        steps=some((BATCH, 24, 3), seed + 1)[:, frames],
        steps_time=torch.full((BATCH, 24), 0.0 if clean else 0.4)[:, frames],
    )


def rays(world: WanWorldModel, cameras: int = 1) -> Tensor:
    return some((BATCH, cameras, *world.config.network.grid, RAY_FEATURES), 9)


PERIOD = torch.full((BATCH,), 1 / 8)


@torch.no_grad()
def test_untrained_additions_leave_wan_as_it_was(world: WanWorldModel) -> None:
    part = frames_part(world, range(1), clean=False)
    sequence = TokenSequence(frames=(part,), rays=rays(world), period_s=PERIOD, guidance=given_texts(world, [0]))
    ours = world.network(sequence).video
    assert part.video is not None
    theirs = world.network.wan(
        part.video[:, :, 0].transpose(1, 2), torch.full((BATCH,), 700.0), given_texts(world, [0]).features[:, 0]
    ).sample
    assert_close(ours[:, :, 0], theirs.transpose(1, 2), rtol=0, atol=1e-5)


@torch.no_grad()
def test_with_every_chunk_visible_it_is_diffusers_forward(
    world: WanWorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three latent frames at once, each with a noise time of its own (as Wan 2.2 5B takes them); the table set aside."""
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(tokens_module, "reading", lambda *_, **__: lambda q, k, v: attend(q, k, v))
    part = replace(frames_part(world, range(3), clean=False), steps=None, steps_time=None)
    times = torch.tensor([0.0, 0.35, 0.9])
    part = replace(part, video_time=times.repeat_interleave(4).expand(BATCH, -1))
    each = 1000 * times.repeat_interleave(int(np.prod(world.config.network.grid))).expand(BATCH, -1)
    features = given_texts(world, [0, 1, 2])
    sequence = TokenSequence(frames=(part,), rays=rays(world), period_s=PERIOD, guidance=features)
    ours = world.network(sequence, now=8.0).video
    assert part.video is not None
    theirs = world.network.wan(part.video[:, :, 0].transpose(1, 2), each, features.features[:, 0]).sample
    assert_close(ours[:, :, 0], theirs.transpose(1, 2), rtol=0, atol=1e-5)


@torch.no_grad()
def test_texts_times_and_velocities_are_those_of_diffusers_pipeline(folder: Path, world: WanWorldModel) -> None:
    """One picture from the same noise with the same times: their text encoding, convention and sampler, and ours."""
    from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline

    pipeline = WanPipeline.from_pretrained(folder, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0))
    pipeline.set_progress_bar_config(disable=True)
    noise = some((1, 1, 1, 4, HEIGHT // 8, WIDTH // 8), 2)
    theirs = pipeline(
        "Turn  left &amp; stop",
        height=HEIGHT,
        width=WIDTH,
        num_frames=1,
        num_inference_steps=4,
        guidance_scale=1.0,
        latents=noise[:, :, 0].transpose(1, 2),
        output_type="latent",
    ).frames
    features, valid = world.text_encoder.encode(["Turn  left &amp; stop"])
    texts = GuidancePart(chunks=torch.zeros(1, dtype=torch.int64), features=features[:, None], valid=valid[:, None])

    def velocity(state: tuple[Tensor, ...], t: float, _: float) -> tuple[Tensor, ...]:
        part = FramesPart(frames=torch.arange(4), clean=False, video=state[0], video_time=torch.full((1, 4), t))
        sequence = TokenSequence(frames=(part,), rays=rays(world)[:1], period_s=PERIOD[:1], guidance=texts)
        return (world.network(sequence).video,)

    (ours,) = euler(velocity, (noise,), pipeline.scheduler.sigmas.double())
    assert_close(ours[:, :, 0], theirs.transpose(1, 2), rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("cameras", [1, 2])
def test_chunks_with_a_cache_equal_all_at_once(trained: WanWorldModel, cameras: int) -> None:
    """Chunk-causal in training layout (clean and noisy copies at once) and with memory; also the fast path alone."""
    network, chunks = trained.network, 3
    clean = frames_part(trained, range(chunks - 1), clean=True, cameras=cameras)
    noisy = frames_part(trained, range(chunks), clean=False, cameras=cameras, seed=5)
    plan = PlanPart(
        chunks=torch.arange(chunks), values=some((BATCH, chunks, 8, 3), 3), time=torch.full((BATCH, chunks), 0.3)
    )
    texts = given_texts(trained, list(range(chunks)))
    whole = network(
        TokenSequence(frames=(clean, noisy), rays=rays(trained, cameras), period_s=PERIOD, guidance=texts, plan=plan)
    )
    entries = []
    for k in range(chunks):
        layers = [joined(entries, layer) for layer in range(trained.config.network.layers)]
        recall = network.recall([layer for layer in layers if layer is not None], 4.0 * k)
        one = frames_part(trained, range(k, k + 1), clean=False, cameras=cameras, seed=5)
        part = PlanPart(chunks=torch.tensor([k]), values=plan.values[:, k : k + 1], time=plan.time[:, k : k + 1])
        sequence = TokenSequence(
            frames=(one,), rays=rays(trained, cameras), period_s=PERIOD, guidance=given_texts(trained, [k]), plan=part
        )
        said = network(sequence, recall, now=4.0 * k)
        assert_close(said.video, whole.video[:, k : k + 1], rtol=0, atol=1e-4)
        assert_close(said.steps, whole.steps[:, 4 * k : 4 * k + 4], rtol=0, atol=1e-4)
        assert_close(said.plan, whole.plan[:, k : k + 1], rtol=0, atol=1e-4)
        alone = network(replace(sequence, frames=(), rays=None), recall, now=4.0 * k)
        assert_close(alone.plan, said.plan, rtol=0, atol=1e-5)
        told = network.with_guidance(recall, given_texts(trained, [k]), PERIOD, 4.0 * k)
        assert_close(network(replace(sequence, guidance=None), told, now=4.0 * k).video, said.video, rtol=0, atol=1e-5)
        again = frames_part(trained, range(k, k + 1), clean=True, cameras=cameras)
        remembered = TokenSequence(frames=(again,), rays=rays(trained, cameras), period_s=PERIOD)
        entries.append(network(remembered, recall, now=4.0 * k, remember=True).entry)


@torch.no_grad()
def test_who_sees_whom(trained: WanWorldModel) -> None:
    """Video hears of steps and of its own chunk's text, never of a later chunk; memory hears of no text."""
    clean, noisy = frames_part(trained, range(2), clean=True), frames_part(trained, range(1, 3), clean=False, seed=5)
    base = TokenSequence(
        frames=(clean, noisy), rays=rays(trained), period_s=PERIOD, guidance=given_texts(trained, [1, 2])
    )
    before = trained.network(base, remember=True)

    def moved(**changes: object) -> list[bool]:
        """Whether chunk 1 and chunk 2 of the noisy video, and the memory, change."""
        after = trained.network(replace(base, **changes), remember=True)
        video = [not torch.equal(after.video[:, k], before.video[:, k]) for k in range(2)]
        return [*video, not torch.equal(after.entry.keys, before.entry.keys)]

    assert base.guidance is not None
    other = base.guidance.features.clone()
    other[:, 1] += 1
    assert moved(guidance=replace(base.guidance, features=other)) == [False, True, False]
    assert noisy.video is not None
    assert noisy.steps is not None
    assert clean.video is not None
    later, steps, history = noisy.video.clone(), noisy.steps.clone(), clean.video.clone()
    later[:, 1] += 1
    assert moved(frames=(clean, replace(noisy, video=later))) == [False, True, False]
    steps[:, :4] += 1
    assert moved(frames=(clean, replace(noisy, steps=steps))) == [True, False, False]
    history[:, 1] += 1
    assert moved(frames=(replace(clean, video=history), noisy)) == [False, True, True]


@torch.no_grad()
def test_withheld_history_counts_as_none(trained: WanWorldModel) -> None:
    clean = frames_part(trained, range(1), clean=True)
    entry = trained.network(TokenSequence(frames=(clean,), rays=rays(trained), period_s=PERIOD), remember=True).entry
    layers = [joined([entry], layer) for layer in range(trained.config.network.layers)]
    recall = trained.network.recall([layer for layer in layers if layer is not None], 4.0)
    assert recall is not None
    valid = torch.tensor([[True], [False]]).expand(-1, len(recall.cells))
    noisy = frames_part(trained, range(1, 2), clean=False, seed=5)
    sequence = TokenSequence(frames=(noisy,), rays=rays(trained), period_s=PERIOD, guidance=given_texts(trained, [1]))
    some_told = trained.network(sequence, replace(recall, valid=valid), now=4.0)
    all_told, none_told = (trained.network(sequence, one, now=4.0) for one in (recall, None))
    for name in ("video", "steps"):
        ours, full, bare = (getattr(output, name) for output in (some_told, all_told, none_told))
        assert_close(ours[0], full[0], rtol=0, atol=1e-5)
        assert_close(ours[1], bare[1], rtol=0, atol=1e-5)


@torch.no_grad()
def test_memory_keeps_video_and_steps_and_stands_at_most_at_the_trained_age(trained: WanWorldModel) -> None:
    clean = frames_part(trained, range(1), clean=True)
    entry = trained.network(TokenSequence(frames=(clean,), rays=rays(trained), period_s=PERIOD), remember=True).entry
    tokens = int(np.prod(trained.config.network.grid))
    assert (entry.cells.stream == Stream.VIDEO).sum() == tokens
    assert (entry.cells.stream == Stream.STEPS).sum() == 4
    layers = [
        layer for layer in (joined([entry], i) for i in range(trained.config.network.layers)) if layer is not None
    ]
    oldest = trained.config.network.oldest_frames
    near, far = (trained.network.recall(layers, now) for now in (oldest + 4.0, oldest + 400.0))
    assert near is not None
    assert far is not None
    assert_close(near.keys[0], far.keys[0], rtol=0, atol=1e-4)


# -- low-rank updates -------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_low_rank_updates_begin_at_nothing_and_merge_into_the_weights(folder: Path) -> None:
    model = WanWorldModel.from_pretrained(f"wan:{folder}@{HEIGHT}x{WIDTH}")
    sequence = TokenSequence(
        frames=(frames_part(model, range(1), clean=False),),
        rays=rays(model),
        period_s=PERIOD,
        guidance=given_texts(model, [0]),
    )
    before = model.network(sequence).video
    assert add_low_rank(model.network.wan.blocks, 2) == 2 * (4 + 4 + 2)
    assert torch.equal(model.network(sequence).video, before)
    for name, parameter in model.network.wan.blocks.named_parameters():
        if name.endswith("up.weight"):
            parameter.add_(some(tuple(parameter.shape), 4))
    changed = model.network(sequence).video
    assert not torch.allclose(changed, before, atol=1e-3)
    assert merge_low_rank(model.network.wan.blocks) == 20
    assert_close(model.network(sequence).video, changed, rtol=0, atol=1e-4)
    with pytest.raises(BadRequest, match="rank of at least 1"):
        add_low_rank(model.network.wan.blocks, 0)


# -- the four questions -----------------------------------------------------------------------------------------------


def test_it_imagines_whole_videos_behind_the_common_interface(world: WanWorldModel) -> None:
    rollout = world.imagine(observation(), seconds=1.5, actions=ahead(1.5), sampling=Sampling(steps=2))
    assert rollout.video.shape == (12, 1, 3, HEIGHT, WIDTH)
    assert rollout.texts == ("turn left",) * 3
    assert rollout.provenance["preset"] == "wan"
    assert any("was not taught to drive" in warning for warning in rollout.warnings)
    np.testing.assert_allclose(rollout.trajectory.poses, ahead(1.5).poses, atol=1e-5)


def test_a_longer_future_begins_with_the_shorter_one_and_can_be_continued(world: WanWorldModel) -> None:
    few = Sampling(steps=1)
    long = world.imagine(observation(), seconds=1.5, actions=ahead(1.5), sampling=few)
    short = world.imagine(observation(), seconds=0.5, actions=ahead(1.5), sampling=few)
    assert (short.video == long.video[:4]).all()
    assert short.past is not None
    [rest] = world.go_on(short.past, seconds=1.0, seeds=[0], actions=[ahead(1.5)], sampling=few)
    assert (rest.video == long.video[4:]).all()


def test_a_change_of_text_leaves_earlier_chunks_alone(world: WanWorldModel) -> None:
    guides = [FixedGuide(text="turn left"), ScheduleGuide(texts=((0.0, "turn left"), (0.5, "stop")))]
    first, second = (
        world.imagine(observation(), seconds=1.0, actions=ahead(1.0), guide=guide, sampling=Sampling(steps=1))
        for guide in guides
    )
    assert (first.video[:4] == second.video[:4]).all()
    assert (first.video[4:] != second.video[4:]).any()


def test_bfloat16_weights_imagine_like_float32_ones(folder: Path, world: WanWorldModel) -> None:
    half = WanWorldModel.loaded(f"wan:{folder}@{HEIGHT}x{WIDTH}", torch.bfloat16)
    assert half.network.wan.patch_embedding.weight.dtype == torch.bfloat16
    videos_of = [
        model.imagine(observation(), seconds=0.5, actions=ahead(0.5), sampling=Sampling(steps=2)).video.astype(float)
        for model in (half, world)
    ]
    assert np.abs(videos_of[0] - videos_of[1]).mean() < 3


def test_several_cameras_make_one_wide_picture(trained: WanWorldModel) -> None:
    rollout = trained.imagine(observation(cameras=3), seconds=0.5, actions=ahead(0.5), sampling=Sampling(steps=1))
    assert rollout.video.shape == (4, 3, 3, HEIGHT, WIDTH)


def test_guidance_scales_and_every_memory_work(trained: WanWorldModel) -> None:
    guided = Sampling(steps=1, guidance_text=2.0, guidance_history=1.5, guidance_motion=0.5)
    plain = Sampling(steps=1)
    pictures = [
        trained.imagine(observation(), seconds=1.0, actions=ahead(1.0), sampling=sampling).video
        for sampling in (plain, guided, replace(plain, memory="full"), replace(plain, memory="selective"))
    ]
    assert (pictures[0] != pictures[1]).any()
    assert all(video.shape == pictures[0].shape for video in pictures)


def test_a_batch_gives_each_what_it_gets_alone(trained: WanWorldModel) -> None:
    seen = [observation(), observation(text="go straight")]
    settings = {"seconds": 1.0, "sampling": Sampling(steps=1)}
    both = trained.imagine_batch(seen, seeds=[3, 4], actions=[ahead(1.0)] * 2, **settings)
    for one, seed, together in zip(seen, (3, 4), both, strict=True):
        alone = trained.imagine(one, seed=seed, actions=ahead(1.0), **settings)
        assert np.abs(together.video.astype(int) - alone.video).max() <= 1


def test_cameras_can_be_read_apart(trained: WanWorldModel) -> None:
    """Factorised views: with one camera nothing changes, with two the other one's past is not read."""
    network = trained.network
    found = {}
    for views in ("all", "factorised"):
        network.config = replace(trained.config.network, view_attention=views)
        for cameras in (1, 2):
            clean = frames_part(trained, range(2), clean=True, cameras=cameras)
            noisy = frames_part(trained, range(1, 3), clean=False, cameras=cameras, seed=5)
            with torch.no_grad():
                sequence = TokenSequence(frames=(clean, noisy), rays=rays(trained, cameras), period_s=PERIOD)
                found[views, cameras] = network(sequence).video
    network.config = trained.config.network
    assert_close(found["all", 1], found["factorised", 1], rtol=0, atol=1e-5)
    assert not torch.allclose(found["all", 2], found["factorised", 2], atol=1e-3)


def test_it_plans_and_explains(trained: WanWorldModel) -> None:
    plan = trained.plan(observation(), samples=2, steps=1)
    assert plan.samples is not None
    assert plan.samples.shape == (2, 8, 3)
    assert trained.explain(observation(), steps=1).deltas.shape == (4, 3)
    alone = trained.imagine(observation(), seconds=0.5, sampling=Sampling(steps=1))
    assert alone.trajectory.poses.shape == (5, 3)


def test_one_frame_of_history_is_enough(world: WanWorldModel) -> None:
    """Four frames are one chunk, of which Wan's first latent frame holds the last."""
    past = world.remember([observation(frames=4)], Full())
    assert past.frames == 4
    assert make_memory("full").chunks == 0
    assert past.memory.chunks == 1


# -- our checkpoints --------------------------------------------------------------------------------------------------


def test_a_checkpoint_holds_what_was_added_and_finds_its_backbone(trained: WanWorldModel, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path / "tuned")
    names = [path.name for path in (tmp_path / "tuned").iterdir()]
    assert any(name.endswith(".safetensors") for name in names)
    again = WorldModel.from_pretrained(tmp_path / "tuned")
    assert isinstance(again, WanWorldModel)
    assert again.config == trained.config
    assert again.hash == trained.hash == trained.config.fingerprint, "nothing was trained by a stage"
    for name, tensor in trained.network.state_dict().items():
        assert_close(again.network.state_dict()[name], tensor, rtol=1e-2, atol=1e-2)


def test_another_backbone_is_refused(trained: WanWorldModel, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path / "tuned")
    config = read_json(tmp_path / "tuned/config.json")
    write_json(tmp_path / "tuned/config.json", {**config, "fingerprint": "0" * 16})
    with pytest.raises(BadCheckpoint, match="fingerprint"):
        WorldModel.from_pretrained(tmp_path / "tuned")
    write_json(tmp_path / "tuned/config.json", {**config, "trained": "everything"})
    with pytest.raises(BadCheckpoint, match="trained is 'everything'"):
        WorldModel.from_pretrained(tmp_path / "tuned")
