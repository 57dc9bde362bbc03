"""What is not a regular file, or must not be read, is refused by name and never opened: no reader waits."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.studies import (
    Manifest,
    ProbabilityStudy,
    StudyError,
    check_regular_file,
    count_channels,
    find_studies,
    list_studies,
    open_probabilities,
    read_grid,
)
from rankseg_med.studies.nnunet import nnunet_reorients, read_nnunet_labels
from tests.studies.dicom_files import write_series

_PATIENCE_S = 20


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """A reader that waits for a FIFO's writer would wait forever."""

    def give_up(*_: object) -> None:
        raise TimeoutError("still waiting")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(_PATIENCE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's address has few bytes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    os.chdir(here)


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


NOT_FILES = {
    fifo: "is a FIFO, must be a regular file",
    link_to_fifo: "is a FIFO, must be a regular file",
    device: "is a device, must be a regular file",
    unix_socket: "is a socket, must be a regular file",
    dangling: r"there is no such file, only a link to .*nowhere",
    loop: "cannot be read .*symbolic links",
}


@pytest.fixture(params=NOT_FILES, ids=lambda make: make.__name__)
def not_a_file(request):
    return request.param


@pytest.mark.parametrize(("make", "reason"), [*NOT_FILES.items(), (folder, "is a folder, must be a regular file")])
def test_each_kind_is_named(tmp_path, make, reason):
    make(tmp_path / "x")
    with pytest.raises(StudyError, match=f"^{tmp_path}/x: {reason}"):
        check_regular_file(tmp_path / "x")


@pytest.mark.parametrize("name", ["gone", "file/below", "n\0ne", "x" * 300])
def test_nothing_there(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match=r"no such file|cannot be read"):
        check_regular_file(tmp_path / name)


def test_a_file_and_a_link_to_it_pass(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    check_regular_file(tmp_path / "a")
    check_regular_file(tmp_path / "b")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img", "a.hdr", "a.nrrd", "a.mha", "a.mhd"])
def test_as_an_image(tmp_path, not_a_file, name):
    not_a_file(tmp_path / name)
    with pytest.raises(StudyError, match=name):
        read_grid(tmp_path / name)


@pytest.mark.parametrize("half", [".img", ".hdr"])
def test_as_half_a_pair(save, not_a_file, half):
    path = save("a.img", np.zeros((2, 3, 4), np.int16), nifti=nib.Nifti1Pair)
    path.with_suffix(half).unlink()
    not_a_file(path.with_suffix(half))
    for given in (path, path.with_suffix(".hdr")):
        with pytest.raises(StudyError, match=rf"a\{half}"):
            read_grid(given)


def test_as_the_voxels_of_a_metaimage(tmp_path, not_a_file):
    (tmp_path / "a.mhd").write_text(
        "NDims = 3\nDimSize = 2 3 4\nElementSpacing = 1 1 1\nElementType = MET_SHORT\nElementDataFile = a.raw\n"
    )
    not_a_file(tmp_path / "a.raw")
    with pytest.raises(StudyError, match=r"a\.raw.*a\.mhd says"):
        read_grid(tmp_path / "a.mhd")


@pytest.mark.parametrize("name", ["9.dcm", "notes.txt"])
def test_among_dicom_slices(tmp_path, not_a_file, name):
    series = write_series(tmp_path / "data" / "case", np.zeros((3, 4, 2), np.int16))
    not_a_file(series / name)
    assert [study.case_id for study in find_studies(series)] == ["case"]
    assert [study.case_id for study in find_studies(series.parent)] == ["case"]
    with pytest.raises(StudyError, match=name):
        read_grid(series)


def test_what_is_hidden_among_dicom_slices_is_ignored(tmp_path):
    series = write_series(tmp_path / "case", np.zeros((3, 4, 2), np.int16))
    (series / ".lock").symlink_to("someone@elsewhere")  # as editors do
    assert read_grid(series).shape == (3, 4, 2)
    os.mkfifo(series / ".pipe")
    assert read_grid(series).shape == (3, 4, 2)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.nii.gz"])
def test_as_probabilities(save, not_a_file, name):
    grid = save("grid.nii", np.zeros((2, 3, 4), np.uint8))
    not_a_file(grid.with_name(name))
    study = ProbabilityStudy("a", (grid.with_name(name),), grid, "CXYZ")
    with pytest.raises(StudyError, match=name), open_probabilities(study):
        pytest.fail("must not open")
    with pytest.raises(StudyError, match=name):
        count_channels(study)


@pytest.mark.parametrize("name", ["list.json", "list.csv"])
def test_as_a_data_list(tmp_path, not_a_file, name):
    not_a_file(tmp_path / name)
    for read in (find_studies, list_studies, Manifest.read):
        with pytest.raises(StudyError, match=rf"{name}: .*cannot be read"):
            read(tmp_path / name)


@pytest.mark.parametrize(("name", "read"), [("dataset.json", read_nnunet_labels), ("plans.json", nnunet_reorients)])
def test_as_what_nnunet_left(tmp_path, not_a_file, name, read):
    assert not read(tmp_path)
    not_a_file(tmp_path / name)
    with pytest.raises(StudyError, match=name):
        read(tmp_path)


class TestUnreadable:
    """By another user than root, who may read everything."""

    @pytest.fixture
    def image(self, public_folder):
        path = public_folder / "a.nii.gz"
        nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_filename(path)
        return path

    def test_file(self, image, as_another_user):
        assert read_grid(image).shape == (2, 3, 4)
        image.chmod(0)
        with as_another_user(), pytest.raises(StudyError, match=r"a\.nii\.gz: cannot be read .*Permission denied.*let"):
            read_grid(image)

    def test_file_in_a_folder_that_is_shut(self, image, as_another_user):
        image.parent.chmod(0)
        with as_another_user(), pytest.raises(StudyError, match=r"a\.nii\.gz: cannot be read .*Permission denied"):
            read_grid(image)

    def test_half_a_pair(self, public_folder, as_another_user):
        path = public_folder / "a.img"
        nib.Nifti1Pair(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_filename(path)
        path.with_suffix(".hdr").chmod(0)
        with as_another_user(), pytest.raises(StudyError, match=r"a\.img: .*a\.hdr: cannot be read"):
            read_grid(path)

    def test_slice(self, public_folder, as_another_user):
        series = write_series(public_folder / "case", np.zeros((3, 4, 3), np.int16))
        assert read_grid(series).shape == (3, 4, 3)
        (series / "2.dcm").chmod(0)  # the last one, which leaves no gap
        with as_another_user(), pytest.raises(StudyError, match=r"2\.dcm: cannot be read .*Permission denied"):
            read_grid(series)

    def test_folder_of_slices(self, public_folder, as_another_user):
        series = write_series(public_folder / "case", np.zeros((3, 4, 3), np.int16))
        series.chmod(0)
        with as_another_user(), pytest.raises(StudyError, match=r"case.* cannot be .*Permission denied"):
            read_grid(series)

    @pytest.mark.parametrize("name", ["list.json", "list.csv"])
    def test_data_list(self, public_folder, as_another_user, name):
        (public_folder / name).write_text("case_id,image\na,a.nii\n")
        (public_folder / name).chmod(0)
        with as_another_user(), pytest.raises(StudyError, match=rf"{name}: it cannot be read: .*Permission denied"):
            find_studies(public_folder / name)


def test_an_input_output_error_names_the_file(save, monkeypatch):
    path = save("a.nii", np.zeros((2, 3, 4), np.int16))

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(nib, "load", fail)
    with pytest.raises(StudyError, match=r"a\.nii: cannot be read as NIfTI .*Input/output error"):
        read_grid(path)
