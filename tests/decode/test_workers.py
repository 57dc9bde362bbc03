"""Pieces of a volume on threads of their own: the same results however many there are, and nothing left behind."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from rankseg_med.decode import (
    ArgmaxDecoder,
    Decision,
    Decoded,
    ProbabilityHistogram,
    RankSEGDecoder,
    blocks,
    check_probabilities,
    decode_ensemble,
    scan,
    workers,
)
from rankseg_med.decode.blocks import TensorBlocks
from tests.decode.decoders import independent

NESTED = [[1, 2, 3], [2, 3], [2]]


def odd_volume(seed: int = 0, shape: tuple[int, ...] = (37, 41, 43)) -> torch.Tensor:
    """Certain background, and three classes that contest each other."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = torch.stack(axes).square().sum(0).sqrt()
    noise = torch.randn((3, *shape), generator=generator)
    logits = 20 * (torch.tensor([0.8, 0.5, 0.4])[:, None, None, None] - radius) + 2 * noise
    return torch.softmax(torch.cat([torch.zeros((1, *shape)), logits]), 0)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch) -> None:
    """Many pieces, and parts that are read again."""
    monkeypatch.setattr(blocks, "_PIECE_VALUES", 1 << 15)
    monkeypatch.setattr(blocks, "_RUN_VALUES", 1 << 14)
    monkeypatch.setattr(blocks, "_PART_VALUES", 1 << 14)
    monkeypatch.setattr(blocks, "_BATCH_VALUES", 1 << 13)
    monkeypatch.setattr(scan, "_READ_AGAIN_VALUES", 1 << 14)


@pytest.fixture
def threads(monkeypatch) -> Iterator:
    """Sets torch's threads and the process's cores; sees that what was set stays and that no thread does."""
    before = torch.get_num_threads(), threading.active_count()

    def use(count: int, cores: int | None = None) -> None:
        torch.set_num_threads(count)
        monkeypatch.setattr(workers, "_cores", lambda: cores or count)

    yield use
    assert threading.active_count() == before[1]
    torch.set_num_threads(before[0])


def assert_alike(decisions: tuple[Decision, ...], others: tuple[Decision, ...]) -> None:
    """Equal, sums up to how their terms lie in memory."""
    for one, other in zip(decisions, others, strict=True):
        for name, value in vars(one).items():
            expected = getattr(other, name)
            assert value == (pytest.approx(expected, rel=1e-11) if isinstance(expected, float) else expected)


def threads_of_a_fresh_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


@pytest.mark.parametrize(
    "decoder",
    [
        RankSEGDecoder("iou", coherence=0.5, regions=NESTED),
        ArgmaxDecoder(),
        *(
            pytest.param(decoder, marks=pytest.mark.slow)
            for decoder in (
                RankSEGDecoder(),
                RankSEGDecoder(mode="multilabel"),
                independent("dice"),
                independent("dice", "rma", "greedy"),
            )
        ),
    ],
    ids=repr,
)
@pytest.mark.parametrize("room", [0, pytest.param(1 << 24, marks=pytest.mark.slow)])
def test_as_many_workers_as_there_are_find_the_same(decoder, room, threads, monkeypatch):
    """To the bit, whether voxels are kept or read again."""
    monkeypatch.setattr(blocks, "_LEAST_ROOM", room)
    for probabilities in (odd_volume(), odd_volume(1).half(), odd_volume(2).double().flip(1)):
        threads(1)
        expected = decoder.decode(probabilities)
        for count in (2, 3, 5):
            threads(count)
            decoded = decoder.decode(probabilities)
            assert torch.equal(decoded.label_map, expected.label_map)
            assert_alike(decoded.decisions, expected.decisions)


def test_sessions_and_ensembles_find_the_same(threads):
    members = [odd_volume(0), odd_volume(1)]

    def found() -> list[Decoded]:
        with RankSEGDecoder().open(4, members[0].shape[1:]) as session:
            for z in range(37):
                session.update(slice(z, z + 1), members[0][:, z : z + 1])
            return [session.finalize(), decode_ensemble(members, RankSEGDecoder())]

    threads(1)
    expected = found()
    threads(3)
    for one, other in zip(found(), expected, strict=True):
        assert torch.equal(one.label_map, other.label_map)
        assert_alike(one.decisions, other.decisions)


def test_histograms_are_the_same(threads):
    threads(1)
    expected = ProbabilityHistogram.of(odd_volume())
    threads(3)
    found = ProbabilityHistogram.of(odd_volume())
    assert torch.equal(found.counts, expected.counts)
    torch.testing.assert_close(found.mass, expected.mass, rtol=1e-12, atol=0)


class Watched(TensorBlocks):
    """Remembers which threads read it, and with how many threads of torch."""

    def __init__(self, probabilities: torch.Tensor) -> None:
        super().__init__(probabilities)
        self.readers: set[int] = set()
        self.torch_threads: set[int] = set()

    def tiles(self, span, which):
        self.readers.add(threading.get_ident())
        self.torch_threads.add(torch.get_num_threads())
        self.at(span.start)
        return super().tiles(span, which)

    def at(self, start: int) -> None:
        """What happens where a tile is read."""
        time.sleep(0.001)


def decode(volume: Watched) -> None:
    RankSEGDecoder().decode_blocks([volume], torch.Size((37, 41, 43)))


@pytest.mark.parametrize(("count", "cores", "readers"), [(1, 4, 1), (2, 4, 2), (4, 3, 3), (4, 1, 1)])
def test_what_the_user_set_and_the_process_has_is_respected(count, cores, readers, threads):
    threads(count, cores)
    volume = Watched(odd_volume())
    decode(volume)
    # The thread that leads reads what comes in one part.
    assert readers <= len(volume.readers) <= readers + (count > 1)
    assert (threading.get_ident() in volume.readers) == (count == 1)
    assert volume.torch_threads == {1}


def test_settings_stay_as_they_were(threads):
    threads(3)
    for decoder in (RankSEGDecoder(), ArgmaxDecoder()):
        decoder(odd_volume())
        assert (torch.get_num_threads(), threads_of_a_fresh_thread()) == (3, 3)
    check_probabilities(odd_volume())
    assert (torch.get_num_threads(), threads_of_a_fresh_thread()) == (3, 3)
    # What this thread has may differ from what others start with.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(torch.set_num_threads, 5).result()
    RankSEGDecoder()(odd_volume())
    assert (torch.get_num_threads(), threads_of_a_fresh_thread()) == (3, 5)


def test_a_thread_that_starts_meanwhile_has_what_was_set(threads):
    threads(3)
    volume, seen = Watched(odd_volume()), []
    volume.at = lambda start: seen.append(threads_of_a_fresh_thread()) if start == 0 else None
    decode(volume)
    assert set(seen) == {3}


def test_gradients_and_inference_mode_are_the_callers(threads):
    threads(2)
    probabilities = odd_volume()
    expected = RankSEGDecoder()(probabilities)
    assert torch.equal(RankSEGDecoder()(probabilities.requires_grad_()), expected)
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.equal(RankSEGDecoder()(probabilities * 1), expected)


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_of_a_worker_is_raised_as_it_is(count, threads):
    threads(count)
    volume = Watched(odd_volume())

    def fail(start: int) -> None:
        if start > 30_000:
            raise RuntimeError(f"at {start}")

    volume.at = fail
    with pytest.raises(RuntimeError, match=r"^at 3\d{4}$"):
        decode(volume)
    assert (torch.get_num_threads(), threads_of_a_fresh_thread()) == (count, count)


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_volume_is_named(count, threads):
    threads(count)
    probabilities = odd_volume()
    probabilities[1, 36, 40, 42] = torch.nan
    with pytest.raises(ValueError, match="got NaN"):
        RankSEGDecoder()(probabilities)
    with pytest.raises(ValueError, match="got NaN"):
        check_probabilities(probabilities)


def test_an_interrupted_decode_leaves_no_threads(threads):
    threads(2)
    volume, pieces = Watched(odd_volume()), set()

    def interrupt(start: int) -> None:
        if start == 8192 and start not in pieces:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        pieces.add(start)
        time.sleep(0.02)

    volume.at = interrupt
    with pytest.raises(KeyboardInterrupt):
        decode(volume)
    assert len(pieces) < len(volume.spans()), "what had not begun must not begin"
    assert (torch.get_num_threads(), threads_of_a_fresh_thread()) == (2, 2)


@pytest.mark.slow
def test_several_threads_decode_at_once(threads):
    threads(1)
    volumes = [odd_volume(seed) for seed in range(4)]
    expected = [RankSEGDecoder()(volume) for volume in volumes]
    threads(3)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for found, label_map in zip(pool.map(RankSEGDecoder(), volumes), expected, strict=True):
                assert torch.equal(found, label_map)
    assert (torch.get_num_threads(), threads_of_a_fresh_thread()) == (3, 3)


def total(volume: np.ndarray) -> int:
    # A forked process must not ask torch for threads outside of a decode, which its parent had: they are gone.
    return int(RankSEGDecoder()(torch.from_numpy(volume)).numpy().sum())


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_several_processes_decode_at_once(start, threads):
    threads(2)
    volumes = [odd_volume(seed).numpy() for seed in range(4)]
    expected = [total(volume) for volume in volumes]
    with multiprocessing.get_context(start).Pool(2, torch.set_num_threads, (2,)) as pool:
        assert pool.map_async(total, volumes).get(timeout=120) == expected
