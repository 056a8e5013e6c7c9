import pytest
import torch
from torch.testing import assert_close

from worldmodel.attention import Cells, Stream, attend, rotary_angles, rotate, visibility

V, S, P, G = Stream.VIDEO, Stream.STEPS, Stream.PLAN, Stream.GUIDANCE

# The table of the design, written out again: reader -> (sources of the same chunk, reads the memory of earlier chunks).
NOISY = {V: ({V, S, G}, True), S: ({V, S, G}, True), P: ({P, G}, True), G: ({G}, False)}
CLEAN = {V: ({V, S}, True), S: ({V, S}, True)}


def allowed(reader, source):
    """Whether (stream, chunk, clean) may look at (stream, chunk, clean)."""
    (r, r_chunk, r_clean), (s, s_chunk, s_clean) = reader, source
    same_chunk, memory = (CLEAN if r_clean else NOISY)[r]
    if s_clean and s_chunk < r_chunk:
        return memory
    return s_chunk == r_chunk and s_clean == r_clean and s in same_chunk


def one_cell_each(kinds):
    stream, chunk, clean = (torch.tensor([int(kind[i]) for kind in kinds]) for i in range(3))
    camera = torch.full((len(kinds),), -1)
    return Cells(stream=stream, chunk=chunk, clean=clean.bool(), camera=camera, position=torch.zeros(len(kinds), 3))


def test_the_mask_is_the_table_of_the_design():
    kinds = [(s, k, False) for s in Stream for k in range(3)] + [(s, k, True) for s in (V, S) for k in range(3)]
    cells = one_cell_each(kinds)
    mask = visibility(cells, cells)
    assert mask.tolist() == [[allowed(reader, source) for source in kinds] for reader in kinds]
    assert mask.diagonal().all()


def test_only_clean_video_and_clean_steps_are_remembered():
    kinds = [(V, 0, True), (S, 0, True), (V, 0, False), (S, 0, False), (P, 0, False), (G, 0, False)]
    assert one_cell_each(kinds).remembered.tolist() == [True, True, False, False, False, False]


def test_cells_join_and_are_picked():
    cells = one_cell_each([(V, 0, True), (S, 1, False)])
    joined = Cells.joined([cells, cells])
    assert len(joined) == 4
    assert joined[joined.chunk == 1].stream.tolist() == [S, S]


def test_rotation_keeps_lengths_and_depends_on_differences_only():
    random = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 2, 5, 16, generator=random, dtype=torch.float64)
    position = torch.randint(0, 30, (5, 3), generator=random).double()
    assert_close(rotate(q, rotary_angles(position, 16)).norm(dim=-1), q.norm(dim=-1))

    def scores(offset):
        angles = rotary_angles(position + torch.tensor(offset, dtype=torch.float64), 16)
        return rotate(q, angles) @ rotate(k, angles).transpose(-1, -2)

    assert_close(scores([0.0, 0, 0]), scores([40.0, 3, 5]), atol=1e-4, rtol=0)  # angles are float32
    other = rotary_angles(position * 2, 16)
    assert not torch.allclose(scores([0.0, 0, 0]), rotate(q, other) @ rotate(k, other).transpose(-1, -2), atol=1e-2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_turns_some_pairs(axis):
    position = torch.zeros(2, 3)
    position[1, axis] = 1
    angles = rotary_angles(position, 16)
    assert angles.shape == (2, 8)
    assert int((angles[0] != angles[1]).sum()) >= 2


def test_masked_sources_have_no_influence_at_all():
    q, k, v = torch.randn(3, 1, 2, 4, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([True, False, True, True]).expand(4, 4)
    changed = v.clone()
    changed[:, :, 1] += 1e6
    assert torch.equal(attend(q, k, v, mask), attend(q, k, changed, mask))
    assert_close(attend(q, k, v, mask), attend(q, k[:, :, [0, 2, 3]], v[:, :, [0, 2, 3]], None))
