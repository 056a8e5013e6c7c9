"""Job files: what they may say, what is refused, and that every refusal names line and way out."""

import glob
import json
import re
from pathlib import Path

import jsonschema
import pytest

from studio.jobs.plan.job_file import Job, job_from, job_of, job_schema, job_yaml, read_job
from studio.jobs.plan.job_sweep import Schedule
from studio.jobs.plan.job_values import Numbers
from studio.yaml_files import MAX_BYTES, read_yaml, yaml_of
from worldmodel.errors import BadTable

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "jobs"
WHOLE = """
name: everything at once
clips:
  - {dataset: "town/*", episodes: "0-9, 12", at_s: every 2.0, filter: {text: turn, speed_mps: [3, 20]}, limit: 20, seed: 1}
  - {dataset: s3://bucket/drives, at_s: [2, 3.5], episodes: [0, "night_*"]}
  - {dataset: "a folder/ünïcode", at_s: {every: 1, start_s: 2, end_s: 9}}
sweep:
  texts: [null, turn left, {schedule: "0:go;2:stop"}, {schedule: [[0, go], [2, "stop; now"]]}]
  seeds: ["0-7", 12]
  actions: [policy, recorded, {constant: {speed_mps: 5}}, {file: turn.csv, name: a turn}]
  edits: [null, {variant: near, kind: car}]
  memories: [window, {name: selective, recent: 4}]
  guidance: [{}, {text: 2.0}]
  history_noise: [null, 0.1]
  seconds: [4, 8]
planners: [joint, rich/ik]
metrics: [psnr]
limits: {bytes: 50 GB, hours: 2}
execution: {batch: 2}
"""


def _one(rest: str) -> str:
    return f"clips: [{{dataset: town}}]\n{rest}"


def test_a_job_file_says_what_a_batch_needs(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(WHOLE, encoding="utf-8")
    job = read_job(tmp_path / "job.yaml")
    (part,) = job.parts()
    assert part.sweep.count == 4 * 9 * 4 * 2 * 2 * 2 * 2 * 2
    assert [clips.dataset for clips in job.clips] == [
        str(tmp_path / "town" / "*"),
        "s3://bucket/drives",
        str(tmp_path / "a folder" / "ünïcode"),
    ]
    assert part.kept() == (("mosaic", "trajectory", "scores"), ("psnr",))
    assert job.limits.bytes == 50 * 10**9
    assert (job.execution.batch, job.execution.threads, job.retry.attempts) == (2, 1, 3)
    assert isinstance(part.sweep.texts[2], Schedule)
    assert [one.name for one in part.sweep.memories] == ["window", "selective"]


def test_a_job_with_all_defaults_written_out_is_the_same_job_wherever_it_lies(tmp_path: Path) -> None:
    job = job_of(WHOLE, "form", tmp_path)
    assert job_of(job_yaml(job), "job.yaml", tmp_path / "elsewhere").to_json() == job.to_json()
    assert job_from(json.loads(json.dumps(job.to_json())), "batch.json").parts() == job.parts()


def test_several_sweeps_over_clips_of_their_own() -> None:
    text = (
        "jobs:\n- {name: a, clips: [{dataset: x}], planners: [joint], sweep: {seconds: [0]}}\n- {clips: [{dataset: y}]}"
    )
    job = job_of(text, "form")
    assert [part.name for part in job.parts()] == ["a", ""]
    assert job_from(job.to_json(), "again").parts() == job.parts()


def test_the_schema_accepts_what_we_read_and_refuses_unknown_names() -> None:
    validator = jsonschema.Draft202012Validator(job_schema())
    for text in (WHOLE, *(path.read_text() for path in sorted(EXAMPLES.glob("*.yaml")))):
        if "clips" in text:
            validator.validate(yaml_of(text, "x", "a job file").content)
    validator.validate(json.loads(json.dumps(job_of(WHOLE, "x").to_json())))
    with pytest.raises(jsonschema.ValidationError, match="episode"):
        validator.validate({"clips": [{"dataset": "x", "episode": 1}]})


def test_the_schema_describes_every_field_that_needs_words() -> None:
    schema = job_schema()
    assert schema["title"] == "Detour job file"
    assert "Attributes" not in json.dumps(schema)
    sweep = schema["$defs"]["Sweep"]["properties"]
    assert all(sweep[name].get("description") for name in sweep)
    assert "recording's own" in sweep["texts"]["description"]
    assert schema["properties"]["model"]["description"].startswith("Checkpoint folder")


def test_a_horizon_may_be_as_long_as_the_model_allows() -> None:
    from studio.jobs.plan import job_sweep
    from worldmodel import model

    assert model.MAX_SECONDS == job_sweep.MAX_SECONDS


def test_names_that_look_like_patterns_are_names_where_they_exist(tmp_path: Path) -> None:
    folder = tmp_path / "job [1]"
    (folder / "set [a]").mkdir(parents=True)
    job = job_of("clips: [{dataset: 'set [a]'}, {dataset: 'set*'}]", "x", folder)
    assert [list(map(str, glob.glob(clips.dataset)))[:1] for clips in job.clips] == [[], [str(folder / "set [a]")]]
    assert job.clips[0].dataset == str(folder / "set [a]")


def test_folders_of_planners_and_models_are_seen_from_the_job_file(tmp_path: Path) -> None:
    for name in ("mine", "model"):
        (tmp_path / name).mkdir()
    (tmp_path / "own.py").touch()
    job = job_of(_one("model: model\nplanners: [mine, 'own.py:Planner', joint]"), "x", tmp_path)
    assert job.model == str(tmp_path / "model")
    assert job.planners == (str(tmp_path / "mine"), f"{tmp_path / 'own.py'}:Planner", "joint")
    assert job_of(_one("model: some/hub-id"), "x", tmp_path).model == "some/hub-id"
    assert job_of(_one("model: wan:Wan-AI/x@64x64"), "x", tmp_path).model == "wan:Wan-AI/x@64x64"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip: [{dataset: x}]", "line 1: unknown name 'clip'. Did you mean 'clips'?"),
        ("clips:\n- dataset: x\n  episode: 1", r"line 3: clips\[0\]: unknown name 'episode'. Did you mean 'episodes'"),
        (_one("sweep: {texts: [{schedul: x}]}"), r"sweep.texts\[0\]: unknown name 'schedul'. Did you mean 'schedule'"),
        (_one("sweep: {memories: [windw]}"), "Did you mean 'window'"),
        (_one("sweep: {edits: [{variant: nere}]}"), "line 2: .*Did you mean 'near'"),
        (_one("sweep: {actions: [{constant: {speed: 3}}]}"), "Did you mean 'speed_mps'"),
        (_one("sweep: {actions: [polcy]}"), "Did you mean 'policy'"),
        (_one("planners: [jont]"), "Did you mean 'joint'"),
        (_one(f"planners: [{'x' * 300}]"), "longer than the name of a file"),
        (_one(f"model: {'x' * 300}"), "longer than the name of a file"),
        (_one("model: s3://bucket/model"), "Copy the checkpoint to a disk"),
        (f"clips: [{{dataset: '{'x' * 300}*'}}]", "longer than the name of a file"),
        (_one("sweep: {steps: [true]}"), r"sweep.steps\[0\]: Input should be a valid integer \(it is true\)"),
        (_one("sweep: {seeds: yes}"), "sweep.seeds: Input should be a valid integer"),
        (_one("sweep: {seeds: 7-0}"), "ends before it starts"),
        (_one("sweep: {seeds: -1}"), "from 0 to"),
        (_one("sweep: {seeds: []}"), "at least 1 item"),
        (_one("sweep: {seconds: ['4']}"), "valid number"),
        (_one("sweep: {seconds: [.nan]}"), "line 2: '.nan' is not a finite number"),
        (_one("sweep: {seconds: [.inf]}"), "not a finite number"),
        (_one("sweep: {seconds: [1e999]}"), "not a finite number"),
        (_one("sweep: {seconds: [3601]}"), "less than or equal to 3600"),
        (_one("sweep: {seconds: [0]}"), "no planner is asked"),
        (_one("sweep: {texts: ['']}"), "the instruction is empty"),
        (_one("sweep: {texts: [{schedule: '2:a;0:b'}]}"), "must increase"),
        (_one("sweep: {steps: [0]}"), "sampling steps"),
        (_one("sweep: {guidance: [{text: 99}]}"), "from 0 to 20"),
        (_one("sweep: {memories: [{name: window, recent: 0}]}"), "at least one recent chunk"),
        (_one("limits: {bytes: many}"), "'many' is no size"),
        (_one(f"limits: {{bytes: {'9' * 400} TB}}"), "is no size"),
        (_one("outputs: [mosaic, mosaic]"), "names something twice"),
        (_one("execution: {device: tpu}"), "'cpu' or 'cuda'"),
        (_one("jobs: [{clips: [{dataset: x}]}]"), "belong into them"),
        ("clips: [{dataset: x, at_s: evry 3}]", "'every 2.0'"),
        ("clips: [{dataset: x, filter: {speed_mps: [9, 3]}}]", "Turn it around"),
        ("clips: [{dataset: ftp://x/y}]", "unknown kind of storage"),
        ("clips: [{dataset: 's3://user:word@x/y'}]", "a user or a password"),
        ("clips: [{dataset: s3://x/../y}]", r"holds '\.\.'"),
        ("clips: [{dataset: 'a/*/../b'}]", "after its first wildcard"),
        ("clips: [{dataset: '  '}]", "a path is empty"),
        ("clips: {dataset: x}", "should be a list"),
        ("sweep: {}", "names no clips"),
        ("- a", "must hold `field: value` lines"),
        ("", "it holds NoneType"),
    ],
)
def test_what_is_refused_and_why(text: str, said: str) -> None:
    with pytest.raises(BadTable, match=said):
        job_of(text, "job.yaml")


def test_all_problems_of_a_file_are_named_at_once_but_not_endlessly() -> None:
    with pytest.raises(BadTable) as raised:
        job_of(_one("sweep:\n  steps: [x]\n  seconds: [-1]\n  memories: [nothing]"), "job.yaml")
    assert all(f"line {line}: " in str(raised.value) for line in (3, 4, 5))
    assert "at least 1 item" not in str(raised.value)  # the lists were not empty before
    with pytest.raises(BadTable, match="and 30 more"):
        job_of(_one(f"sweep: {{steps: [{', '.join(f'n{number}' for number in range(50))}]}}"), "job.yaml")


def test_a_range_of_a_billion_seeds_is_counted_and_not_written_out() -> None:
    job = job_of(_one("sweep: {seeds: 0-999999999}"), "job.yaml")
    assert job.parts()[0].sweep.count == 10**9
    assert list(Numbers(["0-2", 7])) == [0, 1, 2, 7]


def _bomb() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_bomb(), "more than 100000 values, counting what anchors stand for"),
        ("a: &a [*a]", "nest more than 30 levels"),
        ("[" * 200_000, "more than 30 levels"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' is there twice, first in line 1"),
        ("a:\n\t- b", "line 2, column 1"),
        ("a: !!python/object/apply:os.system [ls]", "the tag .* is not read"),
        ("a: !!binary aGk=", "is not read"),
        ("1: x", "a name must be text"),
        ("? [a, b]\n: c", "a name must be text"),
        ("a: 1\n---\nb: 2", "another document"),
        (f"a: {'9' * 5000}", "a number has 5000 characters"),
        ('a: "\\0"', "characters that are none"),
        ("a: " + "x" * MAX_BYTES, "at most 1000000"),
        ("a: [1, 2", "cannot be read as YAML"),
    ],
)
def test_yaml_that_could_hurt_is_refused_at_once(text: str, said: str) -> None:
    with pytest.raises(BadTable, match=said):
        yaml_of(text, "x.yaml", "a job file")


def test_yaml_gives_plain_data_with_lines() -> None:
    read = yaml_of("a: 2024-01-01\nb: [1e6, 1:30, 0-7]\nbase: &base {x: 1}\nc: {<<: *base, y: 2}", "x", "a file")
    assert read.content["a"] == "2024-01-01"
    assert read.content["b"] == [1e6, "1:30", "0-7"]
    assert read.content["c"] == {"x": 1, "y": 2}
    assert (read.line(("b", 1)), read.line(("c", "y")), read.line(("c", "missing"))) == (2, 4, 4)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: \xff")
    (tmp_path / "large").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "endless").symlink_to("/dev/zero")
    said_of = {
        "latin": "cannot be read",
        "large": "the most",
        "endless": "the most",
        "none": "cannot be",
        ".": "cannot",
    }
    for name, said in said_of.items():
        with pytest.raises(BadTable, match=said):
            read_yaml(tmp_path / name, "a job file")


def test_job_files_in_the_guide_are_job_files() -> None:
    guide = (EXAMPLES.parents[1] / "docs" / "batch.md").read_text(encoding="utf-8")
    found = [text for text in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if "clips:" in text]
    assert found
    for text in found:
        assert job_of(text, "docs/batch.md", EXAMPLES).parts()[0].sweep.count > 1


def test_examples_are_job_files() -> None:
    found = [read_job(path) for path in sorted(EXAMPLES.glob("*.yaml")) if "clips" in path.read_text()]
    assert len(found) >= 4
    assert all(isinstance(job, Job) for job in found)
