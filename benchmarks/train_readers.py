"""Train the readers that `benchmarks/obeys.py` reads with, on true town frames alone.

    uv run python benchmarks/train_readers.py STORE runs/readers --out assets/readers

STORE is a training store of town scenes with three cameras (any `detour train` run has one in its folder, or
`worldmodel.training.town_store` makes it). Whole scenes are held out for the scores. Features and fitted parts are kept in the
working folder, so that a killed run goes on where it stopped; `--part` fits one part alone.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from eval_fid_fvd.crops import Sight, cut_out, leader_of, sights
from eval_fid_fvd.held_out import StoredScenes
from eval_fid_fvd.matching import COLUMNS, PER_PATCH, ROWS, matches
from eval_fid_fvd.obedience.commands import SHORTEST_M
from eval_fid_fvd.obedience.read_back import balanced_accuracy, path_errors
from eval_fid_fvd.readers import FRONT, SIDES, CutOutReader, MotionReader, Readers, ReadersConfig, WeatherReader, bands
from worldmodel.geometry import Motion
from worldmodel.town.scene import WEATHERS
from worldmodel.town.setting.layout import draw_light
from worldmodel.town.situations import generator

PARTS = ("motion", "weather", "vehicles", "brakes")
HELD_OUT = 0.12  # of the scenes, the last ones
MIRROR = torch.tensor([1.0, -1.0, -1.0])  # of a step
COVERED, EMPTY = 0.4, 0.02  # share of a rectangle's pixels that are road users where there is one, and where not
BEHIND_RAD = 0.7  # a vehicle headed within this of ours is seen from behind
WEATHER_STEP = 4  # frames between pictures whose weather is learnt


def cached(file: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors from a file; made and written where it is not there."""
    if not file.exists():
        temporary = file.with_suffix(".tmp")
        save_file(make(), temporary)
        temporary.replace(file)
    return load_file(file)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def softened(video: Tensor, draw: torch.Generator) -> Tensor:
    """Frames [n, 3, h, w] in [0, 1], blurred (0.3 to 1.6 px) and noisy (up to 3 %), as imagined pictures may be."""
    sigma = 0.3 + 1.3 * float(torch.rand(1, generator=draw))
    weights = torch.exp(-(torch.arange(-3, 4) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).expand(3, 1, 1, 7)
    padded = functional.pad(video, (3, 3, 3, 3), mode="replicate")
    soft = functional.conv2d(functional.conv2d(padded, weights, groups=3), weights.transpose(2, 3), groups=3)
    return soft + 0.03 * float(torch.rand(1, generator=draw)) * torch.randn(soft.shape, generator=draw)


# -- motion -------------------------------------------------------------------------------------------------------


def motion_features(data: StoredScenes) -> dict[str, Tensor]:
    """Per scene: features [pairs, f] float16 and steps [pairs, 3]; one half of every scene's frames is softened."""
    features, steps = [], []
    for i in range(len(data)):
        video = torch.from_numpy(np.array(data.store.video[i])).float() / 255
        half = slice(0, len(video) // 2) if i % 2 else slice(len(video) // 2, None)
        soft = softened(video[half].flatten(0, 1), torch.Generator().manual_seed(i))
        video[half] = soft.reshape(video[half].shape)
        features.append(matches(255 * video).half())
        steps.append(torch.from_numpy(data.store.deltas[i, : len(video) - 1]).float())
        if i % 50 == 49:
            say(f"motion: {i + 1} scenes matched")
    return {"features": torch.stack(features), "steps": torch.stack(steps)}


def mirrored(features: Tensor) -> Tensor:
    """The features of the mirrored pictures; left and right cameras change places."""
    signs = torch.ones(PER_PATCH)
    signs[2::2] = -1  # features are: best, (down, right) of each soft place, standing still
    signs[-1] = 1
    grid = features.reshape(len(features), SIDES, len(ROWS), len(COLUMNS), PER_PATCH)
    return (grid.flip(1).flip(3) * signs).reshape(features.shape)


def fit_motion(found: dict[str, Tensor], hidden: tuple[int, int], epochs: int) -> MotionReader:
    """Fit the motion reader by a smooth absolute error; inputs are dropped out and mirrored at random."""
    train = len(found["features"]) - round(HELD_OUT * len(found["features"]))
    features, steps = found["features"][:train].flatten(0, 1), found["steps"][:train].flatten(0, 1)
    reader = MotionReader(hidden)
    some = features[::4].float()
    reader.mean.copy_((some.mean(0) + mirrored(some).mean(0)) / 2)
    reader.spread.copy_(some.std(0) + 0.01)
    reader.scale[0], reader.scale[1] = steps.mean(0) * torch.tensor([1.0, 0.0, 0.0]), steps.std(0)
    weights = torch.tensor([1.0, 0.3, 1.0])

    def loss(rows: Tensor, number: int) -> Tensor:
        seen, true = features[rows].float(), steps[rows]
        if number % 2:
            seen, true = mirrored(seen), true * MIRROR
        dropped = functional.dropout(seen - reader.mean, 0.15) + reader.mean
        error = (reader(dropped) - true) / reader.scale[1]
        return (functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.2, reduction="none") * weights).mean()

    fit(reader, loss, len(features), batch=128, epochs=epochs, name="motion")
    return reader


def motion_scores(reader: MotionReader, found: dict[str, Tensor], hertz: float) -> dict[str, float]:
    """Mean absolute errors per step, and of the path over a clip, on held-out scenes."""
    held = round(HELD_OUT * len(found["features"]))
    steps = found["steps"][-held:]
    with torch.no_grad():
        read = torch.stack([reader(scene.float()) for scene in found["features"][-held:]])
    error = (read - steps).abs().mean((0, 1)) * hertz
    paths = [[Motion(deltas=row.double().numpy(), period_s=1 / hertz) for row in side] for side in (read, steps)]
    lengths = np.linalg.norm(steps[..., :2].double().numpy(), axis=2).sum(1)
    ade, far = path_errors(*paths), lengths > SHORTEST_M
    return {
        "speed_error_mps": float(error[0]),
        "yaw_rate_error_radps": float(error[2]),
        "path_ade_m": float(ade.mean()),
        "path_ade_share": float((ade[far] / lengths[far]).mean()),
    }


# -- weather ------------------------------------------------------------------------------------------------------


def weather_labels(data: StoredScenes) -> Tensor:
    """Place in WEATHERS of every scene."""
    lights = [draw_light(generator(name, seed, "light")) for name, seed in data.scenes]
    return torch.tensor([WEATHERS.index(light.weather) for light in lights])


def weather_features(data: StoredScenes) -> dict[str, Tensor]:
    """Features of front pictures, plain and softened, [scenes, pictures, f], and the weather of each scene."""
    frames, found = range(0, data.store.video.shape[1], WEATHER_STEP), []
    for i in range(len(data)):
        plain = torch.from_numpy(data.store.video[i, frames, FRONT]).float() / 255
        soft = softened(plain, torch.Generator().manual_seed(i))
        found.append(torch.cat([bands(plain), bands(soft)]))
    return {"features": torch.stack(found), "weather": weather_labels(data)}


def fit_weather(found: dict[str, Tensor], epochs: int) -> WeatherReader:
    """Fit the weather reader on front pictures, rare weathers weighing more."""
    train = len(found["features"]) - round(HELD_OUT * len(found["features"]))
    features = found["features"][:train]
    labels = found["weather"][:train, None].expand(-1, features.shape[1]).flatten()
    features = features.flatten(0, 1)
    weights = 1 / torch.bincount(labels, minlength=len(WEATHERS)).clamp(min=1).float() ** 0.5
    reader = WeatherReader()
    reader.mean.copy_(features.mean(0))
    reader.spread.copy_(features.std(0) + 1e-3)

    def loss(rows: Tensor, _: int) -> Tensor:
        seen = functional.dropout(features[rows] - reader.mean, 0.05) + reader.mean
        return functional.cross_entropy(reader(seen), labels[rows], weights / weights.mean())

    fit(reader, loss, len(features), batch=128, epochs=epochs, name="weather")
    return reader


def weather_scores(readers: Readers, data: StoredScenes) -> dict[str, float]:
    """Share of held-out scenes read rightly from their last second."""
    held = range(len(data) - round(HELD_OUT * len(data)), len(data))
    labels, last = weather_labels(data), round(data.store.frequency_hz)
    hits = {i: readers.read_weather(data.store.video[i, -last:]) == WEATHERS[labels[i]] for i in held}
    shares = [np.mean([hits[i] for i in held if labels[i] == w]) for w in labels[-len(held) :].unique()]
    return {"weather": float(np.mean(list(hits.values()))), "weather_balanced": float(np.mean(shares))}


# -- cut-outs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """A vehicle in a picture of a store: where, and what is known of it."""

    picture: tuple[int, int, int]  # scene, frame, camera
    sight: Sight
    behind: bool  # seen from behind by the front camera
    lit: bool
    leads: bool


def views(data: StoredScenes, number: int) -> Iterator[View]:
    """The vehicles of every second frame of a scene that can be read."""
    scene = data.scene(number)
    body = {one.track: b for b, one in enumerate(scene.bodies)}
    for frame in range(0, data.store.video.shape[1], 2):
        boxes = scene.boxes(frame)
        ways, leader = {box.track: box.yaw_rad for box in boxes}, leader_of(boxes)
        for camera, lens in enumerate(data.store.rig.cameras):
            for one in sights(boxes, lens):
                if covered(data, (number, frame, camera), one) >= COVERED:
                    yield View(
                        picture=(number, frame, camera),
                        sight=one,
                        behind=camera == FRONT and one.inside > 0.9 and abs(ways[one.track]) < BEHIND_RAD,
                        lit=bool(scene.body_braking[frame, body[one.track]]),
                        leads=one.track == leader,
                    )


def covered(data: StoredScenes, picture: tuple[int, int, int], place: Sight) -> float:
    """Share of a place's pixels that show road users."""
    rows = slice(int(place.top), int(np.ceil(place.bottom)))
    columns = slice(int(place.left), int(np.ceil(place.right)))
    return float(data.store.objects[picture][rows, columns].mean())


def vehicle_cut_outs(data: StoredScenes) -> dict[str, Tensor]:
    """Cut-outs of vehicles and of places without one; those of vehicles seen from behind with their brake lights.

    A place without a vehicle is that of another scene's vehicle, so that where and how large it is tells nothing.
    """
    draw = np.random.default_rng(0)
    there: list[Tensor] = []
    behind: list[Tensor] = []
    there_facts, behind_facts = [], []
    for number in range(len(data)):
        for view in views(data, number):
            if view.behind:
                behind.append(cut_at(data, view.picture, view.sight))
                behind_facts.append((number, int(view.lit), int(view.leads)))
            if view.picture[1] % 4 == 0:
                there.append(cut_at(data, view.picture, view.sight))
                there_facts.append((number, 1))
                other = (int(draw.integers(len(data))), int(draw.integers(data.store.video.shape[1])), view.picture[2])
                if covered(data, other, view.sight) < EMPTY:
                    there.append(cut_at(data, other, view.sight))
                    there_facts.append((other[0], 0))
        if number % 50 == 49:
            say(f"vehicles: {number + 1} scenes, {len(there)} cut-outs, {len(behind)} from behind")
    return {
        "there": torch.stack(there),
        "there_facts": torch.tensor(there_facts),
        "behind": torch.stack(behind),
        "behind_facts": torch.tensor(behind_facts),
    }


def cut_at(data: StoredScenes, picture: tuple[int, int, int], place: Sight) -> Tensor:
    """The cut-out of a place in a picture, uint8."""
    return (255 * cut_out(np.asarray(data.store.video[picture]), place)).round().byte()


def fit_cut_outs(pictures: Tensor, labels: Tensor, epochs: int, name: str) -> CutOutReader:
    """Fit one yes-or-no reader; both answers weigh the same, pictures are mirrored, softened and brightened at random."""
    reader, draw = CutOutReader(), torch.Generator().manual_seed(0)
    yes = labels.float().mean()
    weights = torch.where(labels.bool(), 0.5 / yes, 0.5 / (1 - yes))

    def loss(rows: Tensor, number: int) -> Tensor:
        seen = pictures[rows].float() / 255
        if number % 2:
            seen = seen.flip(3)
        if number % 3 == 0:
            seen = softened(seen, draw)
        seen = seen * (0.85 + 0.3 * torch.rand(len(seen), 1, 1, 1, generator=draw))
        return functional.binary_cross_entropy_with_logits(reader(seen), labels[rows].float(), weights[rows])

    fit(reader, loss, len(pictures), batch=64, epochs=epochs, name=name)
    return reader


def cut_out_score(reader: CutOutReader, pictures: Tensor, labels: Tensor) -> float:
    """Balanced accuracy."""
    with torch.no_grad():
        said = torch.cat([reader(part.float() / 255) for part in pictures.split(256)]) > 0
    return balanced_accuracy(said.tolist(), labels.bool().tolist())


def fit(
    module: nn.Module, loss: Callable[[Tensor, int], Tensor], count: int, *, batch: int, epochs: int, name: str
) -> None:
    """AdamW with one cycle of the rate; one seed, one order."""
    draw = torch.Generator().manual_seed(1)
    steps = epochs * (count // batch)
    optimiser = torch.optim.AdamW(module.parameters(), lr=2e-3, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=max(steps, 2))
    total, number = 0.0, 0
    for epoch in range(epochs):
        order = torch.randperm(count, generator=draw)
        for rows in order[: count // batch * batch].split(batch):
            value = loss(rows, number)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            cycle.step()
            total, number = 0.98 * total + 0.02 * float(value.detach()), number + 1
        say(f"{name}: epoch {epoch + 1} of {epochs}, loss {total / (1 - 0.98**number):.4f}")
    module.eval()


CARD = """# Readers of town pictures

Small networks that read from pixels what a model was told: the steps driven, the weather, brake lights seen from behind,
and whether a vehicle is where it should be. Made by `benchmarks/train_readers.py` from {scenes} scenes of the embedded
town (training seeds, three cameras of 64x128 at 8 Hz), no world model and no recording of anybody else; {held} scenes were
held out. Apache-2.0.

| on held-out true frames | |
|---|---|
{rows}

Limits: the town's rig of three cameras at 8 Hz only; brake lights and vehicles are read within about 25 m. They know
the town and nothing else. Trained on one CPU core in about {minutes:.0f} minutes.
"""


def fit_all(data: StoredScenes, work: Path, wanted: Sequence[str], epochs: int) -> tuple[Readers, dict[str, float]]:
    """The readers with the wanted parts fitted, and the scores of these on held-out scenes."""
    readers, scores = Readers(ReadersConfig()), {}
    if "motion" in wanted:
        found = cached(work / "motion.features", lambda: motion_features(data))
        fitted = cached(work / "motion.part", lambda: fit_motion(found, readers.config.hidden, epochs).state_dict())
        readers.motion.load_state_dict(fitted)
        scores |= motion_scores(readers.motion, found, readers.config.frequency_hz)
    if "weather" in wanted:
        looks = cached(work / "weather.features", lambda: weather_features(data))
        fitted = cached(work / "weather.part", lambda: fit_weather(looks, 2 * epochs).state_dict())
        readers.weather.load_state_dict(fitted)
        scores |= weather_scores(readers, data)
    if "vehicles" in wanted or "brakes" in wanted:
        cuts = cached(work / "vehicles.features", lambda: vehicle_cut_outs(data))
    if "vehicles" in wanted:
        scores |= fit_part(readers.vehicles, cuts, "there", work / "vehicles.part", epochs, len(data))
    if "brakes" in wanted:
        scores |= fit_part(readers.brakes, cuts, "behind", work / "brakes.part", epochs, len(data))
    return readers, scores


def fit_part(
    reader: CutOutReader, cuts: dict[str, Tensor], source: str, file: Path, epochs: int, scenes: int
) -> dict[str, float]:
    """Fit one reader of cut-outs in place, or read it from its file; balanced accuracies on held-out scenes."""
    pictures, facts, name = cuts[source], cuts[f"{source}_facts"], file.stem
    held = facts[:, 0] >= scenes - round(HELD_OUT * scenes)
    train, labels = pictures[~held], facts[~held, 1]
    reader.load_state_dict(cached(file, lambda: fit_cut_outs(train, labels, epochs, name).state_dict()))
    scores = {name: cut_out_score(reader, pictures[held], facts[held, 1])}
    if facts.shape[1] > 2:
        leads = held & (facts[:, 2] == 1)
        scores[f"leaders_{name}"] = cut_out_score(reader, pictures[leads], facts[leads, 1])
    return scores


def main() -> None:
    """Fit what is missing and write the readers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", choices=PARTS, action="append", help="fit this part alone; repeat for several")
    parser.add_argument("--epochs", type=int, default=14)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)  # initial weights; an entry point may seed
    started, data = time.perf_counter(), StoredScenes.open(args.store)
    readers, scores = fit_all(data, args.work, args.part or PARTS, args.epochs)
    say(", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    if args.out and not args.part:
        readers.config = ReadersConfig(accuracy={name: v for name, v in scores.items() if np.isfinite(v)})
        rows = "\n".join(f"| {name.replace('_', ' ')} | {value:.3f} |" for name, value in scores.items())
        minutes, held = (time.perf_counter() - started) / 60, round(HELD_OUT * len(data))
        card = CARD.format(scenes=len(data), held=held, rows=rows, minutes=minutes)
        readers.save_pretrained(args.out, card, overwrite=True)
        say(f"wrote {args.out}")


if __name__ == "__main__":
    main()
