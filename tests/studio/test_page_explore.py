import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.demo import wish_of
from studio.moments import find_moment
from studio.pages.explore import Handlers, build_page
from studio.pages.imagining import ImagineRequest, ImagineView, chunks_of, imagine
from studio.pages.layout import COMMAND, POLICY
from studio.web.shared_model import SharedModel
from studio.web.shelf import Choice, clip_cards, clip_names, moment_paths, moment_range
from studio.web.visitors import Visitors
from studio.pages.whatif import WhatIfRequest, what_if
from worldmodel.clips import Clip, Instruction
from worldmodel.errors import BadCheckpoint, BadDataset, BadRequest, ClipTooShort
from worldmodel.geometry import Motion
from worldmodel.io.lerobot import Dataset, write_dataset
from worldmodel.io.video import probe
from worldmodel.model import WorldModel
from worldmodel.network import WorldActionTransformer
from worldmodel.sampling import Sampling
from worldmodel.tokenizer import Tokenizer
from worldmodel.town.scene import town_rig
from worldmodel.training.presets import find_preset

FRAMES, RATE_HZ = 40, 8.0


def drive(name: str) -> Clip:
    """A road that glides by at 8 m/s; nothing in it needs the renderer."""
    rig = town_rig(3, 64, 32)
    ramp = (np.arange(64)[None] + 3 * np.arange(FRAMES)[:, None]) % 256
    video = np.broadcast_to(ramp[:, None, None, None], (FRAMES, 3, 3, 32, 64)).astype(np.uint8)
    return Clip(
        id=name,
        video=video,
        rig=rig,
        motion=Motion(deltas=np.tile([1.0, 0.0, 0.0], (FRAMES - 1, 1)), period_s=1 / RATE_HZ),
        motion_origin="town",
        frequency_hz=RATE_HZ,
        instructions=(Instruction(text="follow the road"),),
    )


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset([drive("one"), drive("two")], tmp_path_factory.mktemp("page") / "clips", name="glide")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = find_preset("test").model
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WorldModel(config, Tokenizer(config.tokenizer), WorldActionTransformer(config.network))
    folder = tmp_path_factory.mktemp("page") / "model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> WorldModel:
    return WorldModel.from_pretrained(checkpoint)


@pytest.fixture
def request_(clips: Dataset) -> ImagineRequest:
    return ImagineRequest(
        choice=Choice(dataset=str(clips.path), episode=0, at_s=2.0), seconds=1.25, sampling=Sampling(steps=1)
    )


def never() -> bool:
    return False


def joined(views: list[ImagineView], name: str) -> list[object]:
    return [getattr(view, name) for view in views if getattr(view, name) is not None]


def test_chunks_joined_are_what_imagine_gives_at_once(model: WorldModel, request_: ImagineRequest) -> None:
    for commanded in (False, True):
        request = replace(request_, commanded=commanded)
        moment = find_moment(request.choice.text, wish_of(model, request.seconds))
        parts = np.concatenate([rollout.video for rollout in chunks_of(model, moment, request)])
        actions = request.actions(RATE_HZ, model.config.network.frames_per_chunk)
        whole = model.imagine(moment.observation(), seconds=1.25, seed=0, sampling=Sampling(steps=1), actions=actions)
        np.testing.assert_array_equal(parts, whole.video)


def test_page_shows_every_chunk_then_a_film_with_past_and_future(
    model: WorldModel, request_: ImagineRequest, tmp_path: Path
) -> None:
    views = list(imagine(lambda: model, request_, tmp_path, never))
    status = " ".join(map(str, joined(views, "status")))
    assert "Chunk 1 of 3" in status
    assert "left" in status
    assert "Done: 1.25 s imagined" in status
    assert len(joined(views, "live")) == 4
    assert "data:image/webp" in str(joined(views, "live")[-1])
    [film] = joined(views, "film")
    assert probe(film).frames == 16 + 10
    assert "plan (4 s)" in str(joined(views, "birds_eye")[-1])
    assert "repeating the last frame" in str(joined(views, "scores")[-1])
    assert [view.finished for view in views] == [False] * (len(views) - 1) + [True]


def test_stop_ends_before_the_next_chunk_and_keeps_what_is_there(
    model: WorldModel, request_: ImagineRequest, tmp_path: Path
) -> None:
    stops = iter([False, True, True])
    views = list(imagine(lambda: model, request_, tmp_path, lambda: next(stops)))
    assert "Stopped after chunk 1 of 3" in str(views[-1].status)
    assert views[-1].film is not None
    assert probe(views[-1].film).frames == 16 + 4


def test_stop_before_the_first_chunk_shows_no_film(model: WorldModel, request_: ImagineRequest, tmp_path: Path) -> None:
    last = list(imagine(lambda: model, request_, tmp_path, lambda: True))[-1]
    assert last.film is None
    assert "before the first chunk" in str(last.status)


def test_future_beyond_the_recording_is_imagined_and_said(
    model: WorldModel, request_: ImagineRequest, tmp_path: Path
) -> None:
    late = replace(request_, choice=replace(request_.choice, at_s=4.5))
    last = list(imagine(lambda: model, late, tmp_path, never))[-1]
    assert "0.375 s of 1.25 s are recorded" in str(last.scores)


def test_commanded_drive_comes_with_a_path_that_the_command_line_reads(
    model: WorldModel, request_: ImagineRequest, tmp_path: Path
) -> None:
    from studio.imagine import read_actions

    request = replace(request_, commanded=True, speed_mps=4.0, turn_degps=10.0)
    assert "--actions actions.csv" in request.command(Path("m"))
    last = list(imagine(lambda: model, request, tmp_path, never))[-1]
    assert last.actions is not None
    path = read_actions(last.actions)
    assert path.path_length_m == pytest.approx(4.0 * path.times_s[-1], rel=1e-2)
    assert path.poses[-1, 1] > 0  # positive turns go left


def test_what_if_shows_before_and_after_and_an_empty_edit_moves_nothing(
    model: WorldModel, clips: Dataset, tmp_path: Path
) -> None:
    choice = Choice(dataset=str(clips.path), episode=1, at_s=2.0)
    views = list(what_if(lambda: model, WhatIfRequest(choice=choice, variant="empty", samples=2), tmp_path))
    assert "drives the same way" in str(views[-1].status)
    assert "+0.00 m" in str(views[-1].response)
    [film] = [view.film for view in views if view.film is not None]
    assert probe(film).frames == 16
    stills = next(view.stills for view in views if view.stills)
    assert stills.count("<img") == stills.count("alt=") == 2


def test_what_if_marks_where_the_object_stands(model: WorldModel, clips: Dataset, tmp_path: Path) -> None:
    choice = Choice(dataset=str(clips.path), episode=0, at_s=2.0)
    last = list(what_if(lambda: model, WhatIfRequest(choice=choice, kind="truck", samples=2), tmp_path))[-1]
    assert 'class="obstacle"' in str(last.birds_eye)
    assert "truck" in str(last.status)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds": None}, "'Seconds' is empty"),
        ({"seconds": 1e9}, "from 0.1 to 60"),
        ({"seconds": float("nan")}, "'Seconds' is nan"),
        ({"sampling": Sampling(steps=51)}, "'Sampling steps' is 51"),
        ({"seed": -1}, "'Seed' is -1"),
        ({"text": "x" * 10_000}, "10000 characters"),
        ({"commanded": True, "speed_mps": -3.0}, "'Speed' is -3"),
    ],
)
def test_impossible_wishes_are_refused_with_a_sentence(
    request_: ImagineRequest, change: dict[str, object], said: str
) -> None:
    with pytest.raises(BadRequest, match=said):
        replace(request_, **change)


def test_errors_become_sentences_where_the_visitor_looks(checkpoint: Path, clips: Dataset, tmp_path: Path) -> None:
    handlers = Handlers(SharedModel(checkpoint), clips.path)
    handlers.visitors.begin("a")

    def early() -> ImagineRequest:
        return ImagineRequest(choice=handlers.choice(None, 0, 0.0))

    last = list(handlers.imagine("a", early))[-1]
    assert last.finished
    assert 'role="alert"' in str(last.status)
    assert "Choose a moment from" in str(last.status)
    nowhere = list(handlers.imagine("a", lambda: ImagineRequest(choice=handlers.choice(str(tmp_path), 0, 2.0))))[-1]
    assert 'role="alert"' in str(nowhere.status)
    unknown = list(handlers.what_if("a", lambda: WhatIfRequest(choice=handlers.choice("", 0, 2.0), kind="<b>cow</b>")))
    assert "&lt;b&gt;cow" in str(unknown[-1].status)
    handlers.visitors.close_all()


def test_other_folders_are_closed_when_others_can_reach_the_page(
    checkpoint: Path, clips: Dataset, tmp_path: Path
) -> None:
    handlers = Handlers(SharedModel(checkpoint), clips.path, any_folder=False)
    with pytest.raises(BadDataset, match="not open here"):
        handlers.dataset(str(tmp_path))
    assert handlers.dataset("").episodes == 2
    handlers.visitors.close_all()


def test_model_is_read_once_and_a_missing_one_is_said(checkpoint: Path, tmp_path: Path) -> None:
    shared = SharedModel(checkpoint)
    assert not shared.ready
    shared.warm_up().join()
    assert shared.ready
    assert shared.get() is shared.get()
    missing = SharedModel(tmp_path / "none")
    missing.warm_up().join()
    with pytest.raises(BadCheckpoint, match="no checkpoint"):
        missing.get()


def test_visitors_have_folders_of_their_own_that_vanish_with_the_tab() -> None:
    visitors = Visitors()
    mine, other = visitors.folder("../../me"), visitors.folder("you")
    assert mine.parent == other.parent == visitors.root
    visitors.begin("../../me")
    signal = visitors.signal("../../me")
    visitors.stop("you")
    assert not signal.is_set()
    visitors.close("../../me")
    assert signal.is_set()
    assert not mine.exists()
    assert other.exists()
    visitors.close_all()
    assert not visitors.root.exists()


def test_new_work_of_a_visitor_stops_the_work_before() -> None:
    visitors = Visitors()
    visitors.begin("a")
    first = visitors.signal("a")
    visitors.begin("a")
    assert first.is_set()
    assert not visitors.signal("a").is_set()
    visitors.close_all()


def test_shelf_offers_clips_moments_and_paths(clips: Dataset) -> None:
    assert clip_names(clips) == [("0 · one · 5 s", 0), ("1 · two · 5 s", 1)]
    assert [card.caption for card in clip_cards(clips)] == ["0 · one", "1 · two"]
    low, high, start = moment_range(clips, 0)
    assert (low, high, start) == (0.0, 4.875, 2.0)
    assert "driven (recorded)" in moment_paths(clips, Choice(dataset=str(clips.path), episode=0, at_s=2.0))


def test_a_choice_left_empty_is_said(clips: Dataset) -> None:
    with pytest.raises(BadRequest, match="no clip is chosen"):
        Choice(dataset=str(clips.path), episode=None, at_s=1.0)  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="no moment"):
        Choice(dataset=str(clips.path), episode=0, at_s=None)  # type: ignore[arg-type]
    assert ClipTooShort is not BadRequest


def test_commands_name_the_chosen_moment_and_quote_what_was_typed(clips: Dataset) -> None:
    choice = Choice(dataset="/data/my clips", episode=3, at_s=2.125)
    request = ImagineRequest(choice=choice, text="stop; rm -rf /", seconds=2)
    assert request.command(Path("m")) == (
        "detour imagine '/data/my clips:3@2.125' --text 'stop; rm -rf /' --seconds 2 --seed 0 --model m --out my-run"
    )
    assert "--variant sky_near --kind car" in WhatIfRequest(choice=choice, variant="sky_near").command(Path("m"))
    assert POLICY != COMMAND


@pytest.fixture
def event_loops_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gradio makes event loops for the thread and leaves them open."""
    made: list[asyncio.AbstractEventLoop] = []
    new = asyncio.new_event_loop

    def noted() -> asyncio.AbstractEventLoop:
        made.append(new())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", noted)
    yield
    asyncio.set_event_loop(None)
    for loop in made:
        loop.close()


@pytest.mark.slow
@pytest.mark.usefixtures("event_loops_closed")
def test_page_is_built_offline_without_reading_the_model(checkpoint: Path, clips: Dataset) -> None:
    page = build_page(checkpoint, clips.path)
    assert not page.analytics_enabled
    text = str(page.get_config_file())
    assert "fonts.googleapis" not in text
    page.close()
