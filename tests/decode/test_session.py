import errno
import os
import pickle
import random

import pytest
import torch

from rankseg_med.decode import ArgmaxDecoder, DecodeSession, RankSEGDecoder, decode_ensemble, finalize_ensemble
from tests.decode.decoders import independent

SHAPE = (14, 9, 11)


def on_levels(classes: int, shape=SHAPE, seed: int = 0) -> torch.Tensor:
    """Softmax rounded to the levels themselves, so that a session loses nothing."""
    logits = 3 * torch.randn((classes, *shape), generator=torch.Generator().manual_seed(seed))
    levels = (torch.softmax(logits, 0) * 65535).floor()
    levels[0] += 65535 - levels.sum(0)
    return (levels.double() / 65535).float()


def filled(decoder, probabilities, cuts, axis=0, seed=0, **options) -> DecodeSession:
    session = decoder.open(len(probabilities), probabilities.shape[1:], axis=axis, **options)
    slabs = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, probabilities.shape[axis % 3 + 1]], strict=True)]
    random.Random(seed).shuffle(slabs)
    for slab in slabs:
        session.update(slab, probabilities.movedim(axis % 3 + 1, 1)[:, slab].movedim(1, axis % 3 + 1))
    return session


@pytest.mark.parametrize("store", ["memory", "disk"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("cuts", [[], [5], [1, 2, 8]])
def test_slabs_in_any_order_give_the_whole_volumes_label_map(store, axis, cuts):
    probabilities = on_levels(4)
    decoder = independent("dice")
    whole = decoder.decode(probabilities)
    decoded = filled(decoder, probabilities, cuts, axis, store=store, seed=axis).finalize()
    assert torch.equal(decoded.label_map, whole.label_map)
    for ours, theirs in zip(decoded.decisions, whole.decisions, strict=True):
        assert ours.voxels == theirs.voxels
        assert ours.expected_score == pytest.approx(theirs.expected_score, abs=1e-6)


@pytest.mark.parametrize(
    "decoder",
    [
        independent("iou", "rma", "greedy"),
        independent(["dice", "iou"], regions=[[1, 2], [2]]),
        independent("dice", mode="multilabel"),
    ],
)
def test_every_mode(decoder):
    probabilities = on_levels(3, seed=3)
    assert torch.equal(filled(decoder, probabilities, [6, 7]).finalize().label_map, decoder(probabilities))


def test_arbitrary_probabilities_differ_only_where_they_are_within_a_level():
    probabilities = torch.softmax(3 * torch.randn(3, 40, 30, 20, generator=torch.Generator().manual_seed(5)), 0)
    decoder = independent("dice")
    whole = decoder.decode(probabilities)
    different = filled(decoder, probabilities, [11, 30]).finalize().label_map != whole.label_map
    assert different.float().mean() < 1e-3


def test_workers_fill_parts_and_merge():
    probabilities, decoder = on_levels(3), independent()
    first, second = (decoder.open(3, SHAPE) for _ in range(2))
    first.update(slice(0, 4), probabilities[:, :4])
    second.update(slice(9, 14), probabilities[:, 9:])
    second.update(slice(4, 9), probabilities[:, 4:9])
    first.merge(pickle.loads(pickle.dumps(second)))  # noqa: S301 - as from another process
    assert torch.equal(first.finalize().label_map, decoder(probabilities))


def test_what_goes_wrong_is_named_and_loses_nothing():
    probabilities, decoder = on_levels(3), independent()
    with decoder.open(3, SHAPE) as session:
        session.update(slice(0, 6), probabilities[:, :6])
        for slab, values, message in [
            (slice(5, 9), probabilities[:, 5:9], "slice 5 along axis 0 was added before"),
            (slice(0, 6), probabilities[:, :6], "slice 0 along axis 0 was added before"),
            (slice(12, 16), probabilities[:, 10:], r"must lie within 0 to 14 of axis 0, got slice\(12, 16"),
            (slice(6, 8), probabilities[:, 6:9], r"must have spatial shape \(2, 9, 11\), got \(3, 9, 11\)"),
            (slice(6, 14, 2), probabilities[:, 6:10], "without a step"),
            (slice(6, 14), 9 * probabilities[:, 6:], "look like logits"),
            (slice(6, 14), probabilities[:, 6:] * torch.nan, "got NaN"),
        ]:
            with pytest.raises(ValueError, match=message):
                session.update(slab, values)
        with pytest.raises(ValueError, match="8 of 14 slices along axis 0 are missing: 6, 7, 8, 9, 10"):
            session.finalize()
        other = decoder.open(3, SHAPE)
        other.update(slice(4, 8), probabilities[:, 4:8])
        with pytest.raises(ValueError, match="slice 4 along axis 0 was added before"):
            session.merge(other)
        with pytest.raises(ValueError, match="must be of the same volume"):
            session.merge(decoder.open(3, (14, 9, 10)))
        session.update(slice(6, 14), probabilities[:, 6:])
        assert torch.equal(session.finalize().label_map, decoder(probabilities))
        with pytest.raises(ValueError, match="this session is closed"):
            session.finalize()
    with pytest.raises(ValueError, match="needs a foreground class, at least one voxel and an axis"):
        decoder.open(1, SHAPE)
    with pytest.raises(ValueError, match="needs a foreground class, at least one voxel and an axis"):
        decoder.open(3, (4, 0, 4))


def test_disk_store_leaves_no_file(tmp_path):
    probabilities, decoder = on_levels(2), independent()
    session = filled(decoder, probabilities, [7], store="disk", folder=tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == 2 * probabilities[0].numel()
    session.finalize()
    assert not list(tmp_path.iterdir())
    with decoder.open(2, SHAPE, store="disk", folder=tmp_path):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_memory_is_two_bytes_a_voxel_and_foreground_class():
    session = independent().open(5, SHAPE)
    assert session.store.values.nbytes == 2 * 4 * torch.Size(SHAPE).numel()


@pytest.mark.parametrize("store", ["memory", "disk"])
@pytest.mark.parametrize("axis", [0, 2])
def test_argmax_slab_by_slab_is_argmax(store, axis):
    probabilities = on_levels(4)
    session = filled(ArgmaxDecoder(), probabilities, [3, 7], axis, store=store)
    label_map = session.finalize().label_map
    assert torch.equal(label_map.long(), probabilities.argmax(0))


def test_an_ensemble_of_sessions_is_the_ensemble_of_its_members():
    members = [on_levels(3, seed=seed) for seed in range(3)]
    decoder = independent("dice")
    whole = decode_ensemble(members, decoder)
    sessions = [filled(decoder, member, [5], seed=seed) for seed, member in enumerate(members)]
    decoded = finalize_ensemble(sessions)
    assert torch.equal(decoded.label_map, whole.label_map)
    for ours, theirs in zip(decoded.decisions, whole.decisions, strict=True):
        assert ours.expected_score == pytest.approx(theirs.expected_score, abs=1e-6)
    with pytest.raises(ValueError, match="closed"):
        sessions[1].finalize()


def test_an_ensemble_needs_filled_sessions_of_one_volume():
    decoder = independent()
    with pytest.raises(ValueError, match="at least one member"):
        finalize_ensemble([])
    with pytest.raises(ValueError, match="must be of one volume"):
        finalize_ensemble([decoder.open(3, (4, 4)), decoder.open(3, (4, 5))])
    with pytest.raises(ValueError, match="4 of 4 slices"):
        finalize_ensemble([decoder.open(3, (4, 4)), decoder.open(3, (4, 4))])
    greedy = independent(assignment="greedy")
    with pytest.raises(ValueError, match="assignment='ascent'"):
        finalize_ensemble([greedy.open(3, (4, 4)), greedy.open(3, (4, 4))])


def test_what_waits_to_be_decoded_can_be_had_before():
    probabilities = on_levels(4)
    session = filled(independent(), probabilities, [3, 7])
    torch.testing.assert_close(session.foreground(), probabilities[1:], rtol=0, atol=1e-6)
    assert session.finalize().label_map.shape == probabilities.shape[1:]
    with pytest.raises(ValueError, match="4 of 4 slices"):
        independent().open(3, (4, 4)).foreground()


def test_a_disk_without_room_is_told_at_once(tmp_path, monkeypatch):
    """A page that is not there when it is written to would end the process."""

    def full(file, start, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no room for 480 bytes of probabilities: No space left"):
        RankSEGDecoder().open(3, (4, 5, 6), store="disk", folder=tmp_path)
    assert not list(tmp_path.iterdir())
