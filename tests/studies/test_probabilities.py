"""Every format gives the same volume, and everything that is no probability volume on its grid is refused."""

import pickle
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from rankseg_med.studies import (
    GridError,
    ProbabilityStudy,
    StudyError,
    count_channels,
    find_probabilities,
    open_probabilities,
)
from rankseg_med.studies import probabilities as module

AFFINE = np.array([[0.0, -0.8, 0, 11], [0.9, 0, 0, -7], [0, 0, 2.5, 30], [0, 0, 0, 1]])
SHAPE = (5, 6, 7)


@pytest.fixture
def volume() -> np.ndarray:
    """``(classes, X, Y, Z)``."""
    return np.random.default_rng(0).dirichlet([1, 1, 1], SHAPE).transpose(3, 0, 1, 2).astype(np.float32)


@pytest.fixture
def folder(tmp_path) -> Path:
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), tmp_path / "case.nii.gz")
    return tmp_path


def npz(folder, volume):
    np.savez_compressed(folder / "case.npz", probabilities=volume.transpose(0, 3, 2, 1))


def stored_npz(folder, volume):
    np.savez(folder / "case.npz", probabilities=volume.transpose(0, 3, 2, 1))


def npz_with_others(folder, volume):
    np.savez(folder / "case.npz", spacing=np.ones(3), softmax=volume.transpose(0, 3, 2, 1))


def npy(folder, volume):
    np.save(folder / "case.npy", np.ascontiguousarray(volume))


def npy_fortran(folder, volume):
    np.save(folder / "case.npy", np.asfortranarray(volume))


def npy_big_endian(folder, volume):
    np.save(folder / "case.npy", volume.astype(">f8"))


def nifti_4d(folder, volume):
    (folder / "case.nii.gz").unlink()
    nib.save(nib.Nifti1Image(volume.transpose(1, 2, 3, 0), AFFINE), folder / "case.nii")


def nifti_4d_gz(folder, volume):
    nib.save(nib.Nifti1Image(volume.transpose(1, 2, 3, 0), AFFINE), folder / "case.nii.gz")


def nifti_5d(folder, volume):
    nib.save(nib.Nifti1Image(volume.transpose(1, 2, 3, 0)[:, :, :, None], AFFINE), folder / "case.nii.gz")


def nifti_per_class(folder, volume):
    (folder / "case.nii.gz").unlink()
    for index, one in enumerate(volume):
        nib.save(nib.Nifti1Image(one, AFFINE), folder / f"case_class{index}.nii.gz")


FORMATS = [
    *(npz, stored_npz, npz_with_others, npy, npy_fortran, npy_big_endian),
    *(nifti_4d, nifti_4d_gz, nifti_5d, nifti_per_class),
]


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("slab_bytes", [1, 1500, 1 << 25])
def test_every_format_gives_the_same_volume(folder, volume, monkeypatch, write, slab_bytes):
    """Slabs of one slice, of a few that do not divide the length, and of all."""
    monkeypatch.setattr(module, "_SLAB_BYTES", slab_bytes)
    write(folder, volume)
    (study,) = find_probabilities(folder)
    assert study.case_id == "case"
    read = torch.full(volume.shape, torch.nan)
    assert count_channels(study) == 3
    with open_probabilities(study) as opened:
        assert opened.shape == (3, *SHAPE)
        for slab, values in opened.slabs():
            read.narrow(opened.axis + 1, slab.start, slab.stop - slab.start).copy_(values)
    np.testing.assert_array_equal(read.numpy(), volume)


def test_scaled_integers_of_nifti(folder, volume):
    image = nib.Nifti1Image(np.rint(volume * 65535).astype(np.uint16).transpose(1, 2, 3, 0), AFFINE)
    image.header.set_slope_inter(1 / 65535, 0)
    nib.save(image, folder / "case.nii.gz")
    (study,) = find_probabilities(folder)
    with open_probabilities(study) as opened:
        (_, values), *_ = opened.slabs()
    np.testing.assert_allclose(values.numpy(), volume, atol=0.6 / 65535)


def refused(study: ProbabilityStudy, error: type[Exception] = StudyError) -> str:
    with pytest.raises(error) as raised, open_probabilities(study) as opened:
        list(opened.slabs())
    message = str(raised.value)
    assert str(study.files[-1]) in message
    return message


def test_shape_that_is_not_the_grids(folder, volume):
    npz(folder, volume[:, 1:])
    (study,) = find_probabilities(folder)
    assert "must have shape (channels, 7, 6, 5) (CZYX) to lie on the grid, got (3, 7, 6, 4); was it cropped" in refused(
        study
    )


def test_axes_the_other_way_round(folder, volume):
    np.savez(folder / "case.npz", probabilities=volume)
    (study,) = find_probabilities(folder)
    assert "as CXYZ it would fit" in refused(study)
    (study,) = find_probabilities(folder, axes="CXYZ")
    with open_probabilities(study) as opened:
        (_, values), *_ = opened.slabs()
    np.testing.assert_array_equal(values.numpy(), volume)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 5, 6, 7), np.int16), "must be floating point, got int16; was a label map saved?"),
        (np.zeros((5, 6, 7), np.float32), "must have four axes, CXYZ, got shape (5, 6, 7)"),
        (np.zeros((3, 5, 6, 7), np.complex64), "must be floating point, got complex64"),
        (np.zeros((3, 5, 6, 7), [("a", "f4")]), "must be floating point"),
    ],
)
def test_arrays_that_are_no_probabilities(folder, array, message):
    np.save(folder / "case.npy", array)
    (study,) = find_probabilities(folder)
    assert message in refused(study)


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_pickled_arrays_are_never_loaded(folder, save):
    array = np.empty((3, *SHAPE), object)
    array[:] = Trap(folder / "was_run")
    path = folder / ("case.npy" if save is np.save else "case.npz")
    save(path, array)
    (study,) = find_probabilities(path)
    assert "holds pickled Python objects, which are never loaded" in refused(study)
    assert not (folder / "was_run").exists()


def test_nnunets_properties_are_never_loaded(folder, volume):
    npz(folder, volume)
    (folder / "case.pkl").write_bytes(pickle.dumps(Trap(folder / "was_run")))
    (study,) = find_probabilities(folder)
    with open_probabilities(study) as opened:
        list(opened.slabs())
    assert not (folder / "was_run").exists()


def test_a_pickle_by_another_name(folder):
    (folder / "case.npy").write_bytes(pickle.dumps(Trap(folder / "was_run")))
    (study,) = find_probabilities(folder)
    assert "cannot be read as a NumPy array" in refused(study)
    assert not (folder / "was_run").exists()


@pytest.mark.parametrize("kept", [3, 100, -40])
@pytest.mark.parametrize("write", [npz, npy, nifti_4d_gz, nifti_4d])
def test_truncated(folder, volume, write, kept):
    write(folder, volume)
    path = max(folder.glob("case.*"), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:kept])
    (study,) = find_probabilities(path)
    if study.grid is None:
        study = replace(study, grid=folder / "case.nii.gz")
    message = refused(study)
    assert "cannot be read as" in message or "truncated" in message


def test_flipped_bit_in_a_compressed_array(folder, volume):
    npz(folder, volume)
    content = bytearray((folder / "case.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "case.npz").write_bytes(content)
    (study,) = find_probabilities(folder)
    assert "cannot be read as a NumPy array" in refused(study)


def test_header_that_promises_more_than_the_file_holds(tmp_path):
    """A few bytes must not fill the disk: the grid of the lying shape is there, as a file with a hole."""
    huge = (2000, 2000, 2000)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(huge)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    header.set_sform(np.eye(4), 1)
    with (tmp_path / "case.nii").open("wb") as stream:
        stream.write(header.binaryblock + bytes(4))
        stream.truncate(352 + 8 * 10**9)
    with zipfile.ZipFile(tmp_path / "case.npz", "w") as archive, archive.open("probabilities.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (3, *huge)})
    (study,) = find_probabilities(tmp_path)
    assert "asks for 96000000000 bytes" in refused(study)


def test_several_arrays_without_a_known_name(folder, volume):
    np.savez(folder / "case.npz", first=volume, second=volume)
    (study,) = find_probabilities(folder)
    assert "must hold an array named probabilities, or one array only; got first, second" in refused(study)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names",
    [
        ("probabilities.npy", "probabilities.npy"),
        ("probabilities.npy", "probabilities"),
        ("probabilities.npy", "softmax.npy"),
        ("softmax.npy", "spacing.npy", "softmax.npy"),
        ("arr_0.npy", "arr_0.npy"),
        ("probabilities.npy", "spacing.npy", "spacing.npy"),
    ],
    ids=" ".join,
)
def test_a_name_twice_in_an_archive(folder, volume, names):
    with zipfile.ZipFile(folder / "case.npz", "w") as archive:
        for number, name in enumerate(names):
            with archive.open(name, "w") as stream:
                np.save(stream, np.roll(volume, number, axis=0).transpose(0, 3, 2, 1))
    (study,) = find_probabilities(folder)
    assert f"since it holds {', '.join(names)}; save one array" in refused(study)
    with pytest.raises(StudyError, match=r"case\.npz: .*since it holds"):
        count_channels(study)


@pytest.mark.parametrize("name", ["case.nii.gz", "case.nii"])
def test_integers_of_nifti_without_a_slope(folder, name):
    (folder / "case.nii.gz").unlink()
    nib.save(nib.Nifti1Image(np.zeros((*SHAPE, 3), np.uint8), AFFINE), folder / name)
    (study,) = find_probabilities(folder)
    assert "must be floating point or scaled, got uint8 without a slope; was a label map saved?" in refused(study)


@pytest.mark.parametrize("write", [nifti_4d_gz, nifti_per_class])
def test_nifti_that_lies_elsewhere_than_the_image(folder, volume, write):
    write(folder, volume)
    moved = AFFINE.copy()
    moved[0, 3] += 1
    (folder / "images").mkdir()
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), moved), folder / "images" / "case_0000.nii.gz")
    (study,) = find_probabilities(folder, folder / "images")
    with (
        pytest.raises(GridError, match=r"must share one grid, but differ in origin .* \(12, -7, 30\)"),
        open_probabilities(study),
    ):
        pass


def test_channels_of_different_grids(folder, volume):
    nifti_per_class(folder, volume)
    nib.save(nib.Nifti1Image(volume[2, 1:], AFFINE), folder / "case_class2.nii.gz")
    (study,) = find_probabilities(folder)
    assert "shape (4, 6, 7) and (5, 6, 7)" in refused(study, GridError)


def test_file_that_vanished(folder, volume):
    npz(folder, volume)
    (study,) = find_probabilities(folder)
    (folder / "case.npz").unlink()
    assert "there is no such file" in refused(study)


def test_no_room_to_unpack(folder, volume, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    class Full:
        write = full

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    npz(folder, volume)
    (study,) = find_probabilities(folder)
    with pytest.raises(StudyError, match="no room to unpack 2520 bytes; set store_folder"), open_probabilities(study):
        pass


@pytest.mark.parametrize(("name", "by_name", "other"), [("a.npz", "CZYX", "CXYZ"), ("a.npy", "CXYZ", "CZYX")])
def test_arrays_that_are_read_otherwise_than_their_names_have_it_say_so(name, by_name, other):
    assert ProbabilityStudy("a", (Path(name),), None, by_name).read_as == ""
    assert ProbabilityStudy("a", (Path(name),), None, other).read_as == f"axes {other}"
