"""A whole CT: expected scores against quadrature of the voxels themselves, and a session that memory would not hold."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import roots_legendre

from tests.decode.decoders import independent

TERMS = 8


def power_sums(values: np.ndarray) -> np.ndarray:
    """Sums of the first powers, in double precision."""
    sums = np.zeros(TERMS + 1)
    for block in np.array_split(values.ravel(), 1 + values.size // 2**22):
        powers = np.ones(block.size)
        for k in range(TERMS + 1):
            sums[k] += powers.sum()
            powers *= block
    return sums


def quadrature(region: np.ndarray, kept: np.ndarray, metric: str) -> float:
    """Expected score of a mask by 4,096 Gauss-Legendre nodes in x, u = exp(-x / M), of every voxel as it is."""
    everything, inside = power_sums(region), power_sums(region[kept])
    volume, mass, total = inside[0], inside[1], everything[1]
    scale = volume + total + 1 if metric == "dice" else volume + total - mass
    nodes, weights = roots_legendre(4096)
    x, weights = 40 * (nodes + 1), 40 * weights
    v = -np.expm1(-x / scale)
    k = np.arange(1, TERMS + 1)
    assert (v[-1] ** TERMS) * everything[-1] < 1e-9, "the series must have converged"

    def log_survival(sums: np.ndarray) -> np.ndarray:
        return -(v[:, None] ** k) @ (sums[1:] / k)

    if metric == "dice":
        odds = (v[:, None] ** (k - 1)) @ inside[1:]
        return float(2 / scale * (np.exp(-x * (volume + 1) / scale + log_survival(everything)) * odds) @ weights)
    return float(mass / scale * np.exp(-x * volume / scale + log_survival(everything - inside)) @ weights)


@pytest.fixture(scope="module")
def full_size(shared_data: Path, tmp_path_factory) -> torch.Tensor:
    """A softmax volume (3, 602, 512, 512) float32 made from a KiTS19 label map."""
    maker = shared_data.parent / "tools" / "make_probability_volume.py"
    labels = shared_data / "kits19_labels" / "case_00001.nii.gz"
    if not (maker.is_file() and labels.is_file()):
        pytest.skip(f"needs {maker} and {labels}")
    volume = tmp_path_factory.mktemp("full_size") / "volume.npy"
    subprocess.run([sys.executable, maker, labels, volume], check=True, capture_output=True)
    return torch.from_numpy(np.load(volume, mmap_mode="c"))


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_expected_scores_of_a_whole_ct_agree_with_quadrature(full_size, metric):
    decoded = independent(metric).decode(full_size)
    label_map, argmax = decoded.label_map.numpy(), full_size.numpy().argmax(0)
    for label, decision in enumerate(decoded.decisions, start=1):
        region = full_size[label].numpy()
        assert abs(decision.expected_score - quadrature(region, label_map == label, metric)) < 1e-8
        assert abs(decision.argmax_expected_score - quadrature(region, argmax == label, metric)) < 1e-8
        assert decision.voxels == (label_map == label).sum()
        assert decision.expected_volume == pytest.approx(region.sum(dtype=np.float64), rel=1e-9)


# A volume of 5 classes comes slice by slice; its levels take 252 MB and its probabilities 629 MB.
SESSION = """
import resource, sys, zlib
from pathlib import Path
import torch
from rankseg_med.decode import RankSEGDecoder

store, allowed = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
RankSEGDecoder()(torch.softmax(torch.rand(5, 8, 8, 8), 0))
if allowed:
    (used,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    limit = int(used.split()[1]) * 1024 + allowed
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
shape = (120, 512, 512)
y, x = torch.meshgrid(torch.linspace(-1, 1, 512), torch.linspace(-1, 1, 512), indexing="ij")
with RankSEGDecoder().open(5, shape, store=store) as session:
    for z in range(shape[0]):
        radius = torch.sqrt((z / 60 - 1) ** 2 + y**2 + x**2)
        logits = torch.stack([torch.zeros_like(x), *(20 * (r - radius) for r in (0.8, 0.5, 0.3, 0.2))])
        session.update(slice(z, z + 1), torch.softmax(logits.cumsum(0), 0)[:, None])
    label_map = session.finalize().label_map
resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(zlib.crc32(label_map.numpy()), [label for label in range(6) if (label_map == label).any()])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory the Linux way")
def test_a_session_on_disk_decodes_what_memory_would_not_hold():
    def session(store: str, allowed: int) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", SESSION, store, str(allowed)], capture_output=True, text=True, check=False
        )

    allowed = 200_000_000
    in_memory = session("memory", allowed)
    assert in_memory.returncode != 0, "the limit must be one that the levels do not fit into"
    assert "alloc" in in_memory.stderr.lower()
    unlimited, on_disk = session("memory", 0), session("disk", allowed)
    assert on_disk.returncode == 0, on_disk.stderr
    assert on_disk.stdout == unlimited.stdout
    assert "[0, 1, 2, 3, 4]" in on_disk.stdout
