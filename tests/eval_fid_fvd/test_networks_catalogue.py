import hashlib
import re
import subprocess
from dataclasses import replace

import pytest

from eval_fid_fvd.networks import catalogue, i3d, inception, weight_files
from eval_fid_fvd.networks.catalogue import NETWORKS, choose_networks, recognised
from eval_fid_fvd.networks.hub_folders import HubFolder
from eval_fid_fvd.networks.tokenizer import tokenizer_features
from eval_fid_fvd.networks.weight_files import WeightsFile, file_sha256, git_blob_hash
from worldmodel.errors import BadCheckpoint, BadRequest


def stand_in(known):
    """A catalogue entry whose file is the one given to it and whose loader only names it."""

    def load(path, *, device):
        return f"{path.name} on {device}"

    return replace(known, load=load)


@pytest.mark.parametrize(
    "name", sorted(name for name, known in NETWORKS.items() if isinstance(known.file, WeightsFile))
)
def test_absent_or_wrong_weights_say_where_to_get_them(name, tmp_path):
    known = NETWORKS[name]
    with pytest.raises(
        BadCheckpoint, match=r"is not there(.|\n)*--weights FILE.*built-in network needs no file"
    ) as error:
        known.load(tmp_path / "none.pth")
    assert known.file.source in str(error.value)
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"something else")
    with pytest.raises(BadCheckpoint, match=f"is another file: its {known.file.kind} is [0-9a-f]{{40}}") as error:
        known.load(wrong)
    assert known.file.hash_of(wrong) in str(error.value)
    assert known.file.digest in str(error.value)
    assert known.file.source in str(error.value)


def test_weights_are_told_apart_by_hash_and_the_spare_fills_in(tokenizer, tmp_path, monkeypatch):
    weights = tmp_path / "any-name.bin"
    weights.write_bytes(b"weights")
    known = stand_in(NETWORKS["inception-2015"])
    file = replace(known.file, digest=file_sha256(weights))
    monkeypatch.setitem(catalogue.NETWORKS, "inception-2015", replace(known, file=file))
    spare = tokenizer_features(tokenizer)
    networks = choose_networks([weights], spare, device="cpu")
    assert networks.pictures == "any-name.bin on cpu"
    assert networks.clips is spare.clips
    assert choose_networks([]).clips is None
    (tmp_path / "wrong").write_bytes(b"x")
    with pytest.raises(BadCheckpoint, match=r"no known feature network: its sha256 is 2d711642.*leave --weights out"):
        choose_networks([tmp_path / "wrong"])
    with pytest.raises(BadCheckpoint, match="is not there"):
        choose_networks([tmp_path / "none"])


@pytest.mark.parametrize("name", sorted(name for name, known in NETWORKS.items() if isinstance(known.file, HubFolder)))
def test_absent_or_wrong_folders_say_where_to_get_them(name, tmp_path):
    known = NETWORKS[name]
    with pytest.raises(
        BadCheckpoint, match=r"lacks config\.json and model\.safetensors(.|\n)*--weights FOLDER"
    ) as error:
        known.load(tmp_path)
    assert known.file.source in str(error.value)
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(BadCheckpoint, match="holds a 'resnet', but"):
        known.load(tmp_path)
    with pytest.raises(BadCheckpoint, match="no known feature network but a 'resnet'"):
        choose_networks([tmp_path])
    (tmp_path / "config.json").write_text(f'{{"model_type": "{known.file.model_type}"}}')
    assert recognised(tmp_path) == name
    with pytest.raises(BadCheckpoint, match=r"cannot be read as(.|\n)*Copy the files again"):
        known.load(tmp_path)


def test_two_networks_of_one_kind_are_refused(tmp_path, monkeypatch):
    weights = []
    for name in ("i3d-k400", "r3d-18-k400"):
        weights.append(tmp_path / name)
        weights[-1].write_bytes(name.encode())
        known = stand_in(NETWORKS[name])
        file = replace(known.file, digest=known.file.hash_of(weights[-1]))
        monkeypatch.setitem(catalogue.NETWORKS, name, replace(known, file=file))
    with pytest.raises(BadRequest, match=r"r3d-18-k400' is a second network of clips.*Score once per network"):
        choose_networks(weights)


def test_pinned_hashes_are_whole():
    for known in NETWORKS.values():
        if isinstance(known.file, WeightsFile):
            assert re.fullmatch(
                {"sha256": "[0-9a-f]{64}", "git blob": "[0-9a-f]{40}"}[known.file.kind], known.file.digest
            )
        else:
            assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in known.file.published)


def test_a_file_that_people_mistake_for_the_network_is_named(tmp_path, monkeypatch):
    mistaken = tmp_path / "rgb_imagenet.pt"
    mistaken.write_bytes(b"not really")
    note = weight_files.KNOWN_OTHERS["73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a"]
    assert "not comparable with FVD" in note
    monkeypatch.setitem(weight_files.KNOWN_OTHERS, git_blob_hash(mistaken), note)
    for load in (i3d.i3d_k400, inception.inception_2015, lambda path: choose_networks([path])):
        with pytest.raises(BadCheckpoint, match=re.escape(f"({note})")):
            load(mistaken)


def test_hashes_are_those_of_git_and_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 9)
    git = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True)
    assert git_blob_hash(path) == git.stdout.strip()
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
