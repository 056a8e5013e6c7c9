import errno
import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from worldmodel import checkpoints
from worldmodel.checkpoints import content_hash, folder_or_previous, load_folder, replace_folder, save_folder
from worldmodel.errors import BadCheckpoint, OutputExists

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7), "c": torch.ones(2, dtype=torch.bfloat16)}
SHAPES = {"a": (2, 3), "b": (), "c": (2,)}


@pytest.fixture
def folder(tmp_path):
    return save_folder(tmp_path / "model", TENSORS, {"width": 8}, "# Card")


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(checkpoints, "SHARD_BYTES", 500)


def shard(folder):
    return folder / "model-00001-of-00001.safetensors"


def test_what_is_saved_comes_back(folder):
    config, tensors = load_folder(folder, SHAPES)
    assert config == {"width": 8}
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "config.json", shard(folder).name, "model.safetensors.index.json"]
    assert (folder / "README.md").read_text() == "# Card"


def test_shards_stay_under_their_limit_and_the_index_finds_all(tmp_path, small_shards):
    tensors = {f"layer.{i}": torch.full((25,), float(i)) for i in range(9)}
    folder = save_folder(tmp_path / "m", tensors, {}, "")
    files = sorted(folder.glob("*.safetensors"))
    assert [f.name for f in files] == [f"model-0000{i}-of-00005.safetensors" for i in range(1, 6)]
    assert all(f.stat().st_size <= 500 for f in files)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 900
    assert index["weight_map"].keys() == tensors.keys()
    _, loaded = load_folder(folder, dict.fromkeys(tensors, (25,)))
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())


def test_real_shards_stay_under_16_mb(tmp_path):
    tensors = {f"w{i}": torch.zeros(1000, 500) for i in range(10)}
    folder = save_folder(tmp_path / "m", tensors, {}, "")
    assert all(f.stat().st_size < 16_000_000 for f in folder.glob("*.safetensors"))


def test_floats_can_be_stored_smaller_and_whole_numbers_are_kept(tmp_path):
    _, tensors = load_folder(save_folder(tmp_path / "m", TENSORS, {}, "", dtype=torch.bfloat16), SHAPES)
    assert tensors["a"].dtype == torch.bfloat16
    assert tensors["b"].dtype == torch.int64


def test_shared_and_strided_tensors_can_be_saved(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    _, tensors = load_folder(save_folder(tmp_path / "m", {"x": base, "tied": base, "turned": base.T}, {}, ""))
    assert torch.equal(tensors["tied"], base)
    assert torch.equal(tensors["turned"], base.T)


def test_content_hash_depends_on_the_weights_and_not_on_sharding(folder, tmp_path, small_shards):
    assert content_hash(folder) == content_hash(TENSORS) == content_hash(dict(reversed(TENSORS.items())))
    assert len(content_hash(TENSORS)) == 16
    assert content_hash(save_folder(tmp_path / "many", TENSORS, {"width": 9}, "other")) == content_hash(folder)
    for other in ({"a": TENSORS["a"] + 1}, {"a": TENSORS["a"].reshape(3, 2)}, {"a": TENSORS["a"].double()}):
        assert content_hash(TENSORS | other) != content_hash(TENSORS)


def test_missing_extra_and_wrongly_shaped_tensors_are_all_named(folder):
    with pytest.raises(BadCheckpoint) as error:
        load_folder(folder, {"a": (3, 2), "b": (), "d": (1,), "e": (1,)})
    message = str(error.value)
    assert "2 missing (d, e)" in message
    assert "1 extra (c)" in message
    assert "a is [2, 3] and should be [3, 2]" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_that_are_not_finite_are_named(tmp_path, value, dtype):
    tensors = TENSORS | {"bad": torch.tensor([1.0, value], dtype=dtype)}
    with pytest.raises(BadCheckpoint, match=r"not finite \(bad\)"):
        load_folder(save_folder(tmp_path / "m", tensors, {}, ""))


def test_long_lists_of_names_are_shortened(folder):
    with pytest.raises(BadCheckpoint, match="and 94 more"):
        load_folder(folder, SHAPES | {f"x{i:03}": (1,) for i in range(100)})


class Evil:
    def __reduce__(self):
        return os.abort, ()


@pytest.mark.parametrize("write", ["torch", "legacy", "pickle"])
def test_a_pickle_renamed_to_safetensors_is_recognised_and_never_opened(folder, write):
    if write == "pickle":
        shard(folder).write_bytes(pickle.dumps(Evil()))
    else:
        torch.save({"a": Evil()}, shard(folder), _use_new_zipfile_serialization=write == "torch")
    with pytest.raises(BadCheckpoint, match=r"is a pickle renamed to \.safetensors"):
        load_folder(folder)


def test_a_folder_of_pickles_is_told_so(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(BadCheckpoint, match=r"only pickles lie there \(pytorch_model.bin\)"):
        load_folder(tmp_path)


@pytest.mark.parametrize("keep", [1, 7, 30, -1])
def test_a_truncated_file_is_named(folder, keep):
    shard(folder).write_bytes(shard(folder).read_bytes()[:keep])
    with pytest.raises(BadCheckpoint, match=r"model-00001-of-00001.safetensors' is truncated or damaged"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"\x10\0\0\0\0\0\0\0[1, 2, 3, 4, 5, 6]", "is not a safetensors file"),
        (b"<html>404</html>", "is truncated or damaged"),
    ],
)
def test_other_files_under_that_name_are_refused(folder, content, message):
    shard(folder).write_bytes(content)
    with pytest.raises(BadCheckpoint, match=message):
        load_folder(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not JSON"), ("[1]", "holds a list"), ('"\ud83d', "is not JSON"), (None, "is missing")],
)
def test_a_config_that_is_missing_or_not_json_is_named(folder, content, message):
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(BadCheckpoint, match=rf"config.json' {message}"):
        load_folder(folder)


def test_a_config_of_absurd_size_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(checkpoints, "_MAX_JSON_BYTES", 5)
    with pytest.raises(BadCheckpoint, match="no config is that large"):
        load_folder(folder)


@pytest.mark.parametrize("with_index", [True, False])
def test_a_missing_shard_is_noticed(tmp_path, small_shards, with_index):
    folder = save_folder(tmp_path / "m", {f"w{i}": torch.zeros(100) for i in range(3)}, {}, "")
    (folder / "model-00002-of-00003.safetensors").unlink()
    if not with_index:
        (folder / "model.safetensors.index.json").unlink()
    message = r"model-00002-of-00003.safetensors' is missing" if with_index else "has 2 of 3 shards"
    with pytest.raises(BadCheckpoint, match=message):
        load_folder(folder)


def test_a_folder_without_weights_is_named(folder):
    shard(folder).unlink()
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(BadCheckpoint, match=r"no model.*safetensors"):
        load_folder(folder)


def test_one_plain_safetensors_file_without_index_is_enough(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert load_folder(tmp_path, {"a": (2,)})[1]["a"].tolist() == [0, 0]


def test_a_tensor_in_two_shards_is_refused(folder):
    save_file({"a": torch.zeros(1)}, folder / "more.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "more.safetensors", "b": shard(folder).name}})
    )
    with pytest.raises(BadCheckpoint, match=r"repeats tensors of another shard: a\."):
        load_folder(folder)


@pytest.mark.parametrize("name", ["../other/model.safetensors", "/etc/model.safetensors", "weights.bin", 3])
def test_an_index_cannot_point_outside_its_folder(folder, name):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(BadCheckpoint, match="does not map tensors to safetensors files of its folder"):
        load_folder(folder)


@pytest.mark.parametrize("name", ["missing", "model/missing", "a/b/c", "../x", ""])
def test_a_folder_that_does_not_exist_is_named(tmp_path, folder, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoints, "_download", None)  # nothing here may reach for the network
    with pytest.raises(BadCheckpoint, match=r"does not exist|is missing"):
        load_folder(name)


def test_a_file_in_place_of_a_folder_is_named(folder):
    with pytest.raises(BadCheckpoint, match="is a file, but a checkpoint is a folder"):
        load_folder(folder / "config.json")


def test_a_hub_id_is_downloaded_without_pickles(folder, tmp_path, monkeypatch):
    import huggingface_hub

    asked = {}

    def snapshot_download(hub_id, allow_patterns):
        asked[hub_id] = allow_patterns
        return str(folder)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert load_folder("someone/detour-town", SHAPES)[0] == {"width": 8}
    assert asked == {"someone/detour-town": ["*.json", "*.safetensors", "*.md"]}


def test_a_hub_that_cannot_be_reached_is_said(tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot_download(hub_id, allow_patterns):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(BadCheckpoint, match=r"'someone/detour-town' is neither a folder here nor .*no connection"):
        load_folder("someone/detour-town")


def test_an_existing_folder_is_kept_unless_asked(folder):
    with pytest.raises(OutputExists, match="exists already"):
        save_folder(folder, {}, {}, "")
    save_folder(folder, {"z": torch.zeros(1)}, {}, "", overwrite=True)
    assert load_folder(folder)[1].keys() == {"z"}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "m").mkdir()
    assert load_folder(save_folder(tmp_path / "m", TENSORS, {}, ""), SHAPES)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExists, match="cannot be written"):
        save_folder(tmp_path / "file" / "m", TENSORS, {}, "")


@pytest.mark.parametrize("exists", [True, False])
def test_a_full_disk_leaves_the_old_folder_and_nothing_half_written(tmp_path, monkeypatch, exists):
    if exists:
        save_folder(tmp_path / "m", TENSORS, {}, "")
    monkeypatch.setattr(checkpoints, "write_tensors", full_disk)
    with pytest.raises(OutputExists, match="No space left"):
        save_folder(tmp_path / "m", {"a": torch.zeros(1)}, {}, "", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == (["m"] if exists else [])
    if exists:
        load_folder(tmp_path / "m", SHAPES)


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_ctrl_c_while_writing_leaves_nothing(tmp_path):
    def interrupted():
        with replace_folder(tmp_path / "m") as partial:
            (partial / "x").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_failing_last_rename_puts_the_old_folder_back(folder, monkeypatch):
    rename = type(folder).rename

    def failing(self, target):
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "broken disk")
        return rename(self, target)

    monkeypatch.setattr(type(folder), "rename", failing)
    with pytest.raises(OutputExists, match="broken disk"):
        save_folder(folder, {}, {}, "", overwrite=True)
    load_folder(folder, SHAPES)


def test_the_previous_folder_is_found_in_the_moment_of_replacing(folder):
    assert folder_or_previous(folder) == folder
    previous = folder.rename(folder.with_name("model.previous"))
    assert folder_or_previous(folder) == previous
    assert folder_or_previous(folder.with_name("none")) is None


def test_config_values_that_are_not_json_leave_nothing(tmp_path):
    with pytest.raises((TypeError, ValueError)):
        save_folder(tmp_path / "m", TENSORS, {"x": float("nan")}, "")
    assert list(tmp_path.iterdir()) == []
