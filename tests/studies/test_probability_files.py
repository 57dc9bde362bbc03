import json
import os

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.studies import StudyError, find_probabilities, list_probabilities
from tests.studies.dicom_files import write_series


@pytest.fixture
def touch(tmp_path):
    """Make empty files, or small NIfTI files with so many volumes."""

    def make(*names: str, volumes: int | None = None) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if volumes is None:
                path.touch()
            else:
                shape = (2, 2, 2) if volumes == 1 else (2, 2, 2, volumes)
                nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), path)

    return make


def names(studies):
    return [(study.case_id, [path.name for path in study.files], study.grid and study.grid.name) for study in studies]


def test_nnunets_output_folder(tmp_path, touch):
    touch(
        "b_1.npz",
        "b_1.pkl",
        "b_1.nii.gz",
        "a.npz",
        "a.nii.gz",
        "dataset.json",
        "predict_from_raw_data_args.json",
        ".c.npz",
    )
    (tmp_path / "plans.json").write_text('{"image_reader_writer": "NibabelIO"}')
    (tmp_path / "dataset.json").unlink()
    studies = find_probabilities(tmp_path)
    assert names(studies) == [("a", ["a.npz"], "a.nii.gz"), ("b_1", ["b_1.npz"], "b_1.nii.gz")]
    assert {study.axes for study in studies} == {"CZYX"}
    assert studies[0].paths == (tmp_path / "a.npz", tmp_path / "a.nii.gz")


def test_one_file(tmp_path, touch):
    touch("a.npy", "a.nii", "b.npy")
    (study,) = find_probabilities(tmp_path / "a.npy")
    assert (study.case_id, study.axes, study.grid) == ("a", "CXYZ", tmp_path / "a.nii")


def test_images_win_over_what_lies_beside(tmp_path, touch):
    touch("p/a.npz", "p/a.nii.gz", "p/b.npz", "imagesTs/a_0000.nii.gz", "imagesTs/b.nii.gz", "imagesTs/c.nii.gz")
    studies = find_probabilities(tmp_path / "p", tmp_path / "imagesTs")
    assert names(studies) == [("a", ["a.npz"], "a_0000.nii.gz"), ("b", ["b.npz"], "b.nii.gz")]
    assert [study.image for study in studies] == [study.grid for study in studies]
    # What lies beside is not known to be an image.
    assert find_probabilities(tmp_path / "p" / "a.npz")[0].image is None


def test_one_image_for_one_case_whatever_its_name(tmp_path, touch):
    touch("a.npz", "ct.nii.gz")
    (study,) = find_probabilities(tmp_path / "a.npz", tmp_path / "ct.nii.gz")
    assert study.grid == tmp_path / "ct.nii.gz"


@pytest.mark.parametrize("name", ["list.csv", "list.CSV"])
@pytest.mark.parametrize("cases", ["a", "ab"])
def test_images_of_a_data_list(tmp_path, touch, name, cases):
    touch(*(f"p/{case}.npz" for case in cases), "images/1.nii.gz", "images/2.nii.gz")
    (tmp_path / name).write_text("case_id,image\na,images/1.nii.gz\nb,images/2.nii.gz\n")
    studies = find_probabilities(tmp_path / "p", tmp_path / name)
    grids = {"a": "1.nii.gz", "b": "2.nii.gz"}
    assert names(studies) == [(case, [f"{case}.npz"], grids[case]) for case in cases]


def test_one_image_in_a_data_list_is_that_of_its_case_only(tmp_path, touch):
    touch("a.npz", "ct.nii.gz")
    (tmp_path / "list.csv").write_text("case_id,image\nb,ct.nii.gz\n")
    with pytest.raises(StudyError, match="has no image for 1 of 1 cases: a"):
        find_probabilities(tmp_path / "a.npz", tmp_path / "list.csv")


def test_one_dicom_series_for_one_case_whatever_its_name(tmp_path, touch):
    touch("a.npz")
    series = tmp_path / "series"
    write_series(series, np.zeros((2, 2, 2), np.int16))
    (study,) = find_probabilities(tmp_path / "a.npz", series)
    assert study.grid == series


def test_images_that_are_missing_are_all_named(tmp_path, touch):
    touch("p/a.npz", "p/b.npz", "p/c.npz", "images/b.nii.gz")
    with pytest.raises(StudyError, match="has no image for 2 of 3 cases: a, c"):
        find_probabilities(tmp_path / "p", tmp_path / "images")


def test_no_grid_for_any(tmp_path, touch):
    touch("a.npz", "b.npz")
    with pytest.raises(StudyError, match=r"there is no NIfTI file beside them, such as a.nii.gz; give the images"):
        find_probabilities(tmp_path)


def test_no_grid_for_one_is_that_ones_failure(tmp_path, touch):
    touch("a.npz", "b.npz", "b.nii.gz")
    assert [study.grid for study in find_probabilities(tmp_path)] == [None, tmp_path / "b.nii.gz"]


def test_four_axes_are_a_case_and_three_are_a_channel(tmp_path, touch):
    touch("liver_7.nii.gz", volumes=3)
    touch("liver_8_0.nii.gz", "liver_8_1.nii.gz", volumes=1)
    touch("x_prob0000.nii", "x_prob0001.nii", volumes=1)
    assert names(find_probabilities(tmp_path)) == [
        ("liver_7", ["liver_7.nii.gz"], "liver_7.nii.gz"),
        ("liver_8", ["liver_8_0.nii.gz", "liver_8_1.nii.gz"], "liver_8_0.nii.gz"),
        ("x", ["x_prob0000.nii", "x_prob0001.nii"], "x_prob0000.nii"),
    ]


def test_eleven_channels_are_in_order(tmp_path, touch):
    touch(*(f"a_{index}.nii" for index in range(11)), volumes=1)
    (study,) = find_probabilities(tmp_path)
    assert [path.name for path in study.files] == [f"a_{index}.nii" for index in range(11)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a_1.nii", "a_2.nii"], r"channels of a must be numbered from 0 .*, got 1, 2"),
        (["a_0.nii", "a_2.nii"], r"channels of a must be numbered from 0 .*, got 0, 2"),
        (["a_0.nii", "a_00.nii"], r"is channel 0 of a, and so is a_0.nii; move one"),
        (["a.nii"], r"a.nii: is 3-D; probabilities must be 4-D .* or one 3-D file per channel named <case>_0"),
    ],
)
def test_channels_that_do_not_make_a_case(tmp_path, touch, files, message):
    touch(*files, volumes=1)
    with pytest.raises(StudyError, match=message):
        find_probabilities(tmp_path)


def test_the_same_case_twice(tmp_path, touch):
    touch("a.npz", "a.npy")
    with pytest.raises(StudyError, match=r"gives the same case id as a.npy; move one"):
        find_probabilities(tmp_path)


def test_the_same_case_twice_in_nifti(tmp_path, touch):
    touch("a.nii", volumes=3)
    touch("a_0.nii", "a_1.nii", volumes=1)
    with pytest.raises(StudyError, match=r"a.nii: gives the same case id as a_0.nii; move one"):
        find_probabilities(tmp_path)


@pytest.mark.parametrize("source", ["absent", "absent.npz", "empty", "list.json"])
def test_nothing_there(tmp_path, source):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.json").write_text(json.dumps({}))
    with pytest.raises(
        StudyError, match=r"must be an existing .npz, .npy or 4-D NIfTI file of probabilities, or a folder"
    ):
        find_probabilities(tmp_path / source)


def test_arrays_that_nnunet_turned(tmp_path, touch):
    touch("a.npz", "a.nii.gz")
    (tmp_path / "plans.json").write_text('{"image_reader_writer": "NibabelIOWithReorient"}')
    with pytest.raises(StudyError, match=r"plans.json says that nnU-Net reoriented the images"):
        find_probabilities(tmp_path)
    assert len(find_probabilities(tmp_path, axes="CZYX")) == 1


class TestFaults:
    def test_arrays(self, tmp_path, touch):
        touch("a.npz", "a.npy", "b.npz", "b.nii.gz", "\x07.npz")
        listing = list_probabilities(tmp_path)
        assert names(listing.studies) == [("b", ["b.npz"], "b.nii.gz")]
        assert [fault.case_id for fault in listing.faults] == ["a", None]
        assert listing.faults[0].reason == f"{tmp_path}/a.npz: gives the same case id as a.npy; move one"
        assert "case id" in listing.faults[1].reason

    def test_volumes(self, tmp_path, touch):
        touch("sound.nii", "twice.nii", volumes=3)
        touch("twice_0.nii", "gap_0.nii", "gap_2.nii", "alone.nii", "same_0.nii", "same_00.nii", volumes=1)
        listing = list_probabilities(tmp_path)
        assert names(listing.studies) == [("sound", ["sound.nii"], "sound.nii")]
        assert sorted(fault.case_id for fault in listing.faults) == ["alone", "gap", "same", "twice"]
        with pytest.raises(StudyError, match=f"{tmp_path}: faults: 4\n"):
            find_probabilities(tmp_path)

    def test_images(self, tmp_path, touch):
        touch("p/a.npz", "p/b.npz", "p/c.npz", "images/a.nii", "images/b.nii", "images/b.mha")
        listing = list_probabilities(tmp_path / "p", tmp_path / "images")
        assert names(listing.studies) == [("a", ["a.npz"], "a.nii")]
        same, missing = listing.faults
        assert same.reason.startswith(f"{tmp_path}/images: these files give the same case id")
        assert missing.reason == f"{tmp_path}/images: has no image for 2 of 3 cases: b, c"
        assert [study.case_id for study in missing.studies] == ["b", "c"]

    def test_nothing_sound(self, tmp_path, touch):
        touch("a.nii", volumes=1)
        with pytest.raises(StudyError, match=r"a\.nii: is 3-D"):
            list_probabilities(tmp_path)

    def test_what_is_no_file_does_not_vanish(self, tmp_path, touch):
        touch("b.npz", "b.nii")
        os.mkfifo(tmp_path / "a.npz")
        (tmp_path / "c.npz").symlink_to("nowhere")
        os.mkfifo(tmp_path / "c.nii")
        assert names(list_probabilities(tmp_path).studies) == [
            ("a", ["a.npz"], None),
            ("b", ["b.npz"], "b.nii"),
            ("c", ["c.npz"], "c.nii"),
        ]
        with pytest.raises(StudyError, match=r"a\.npz: is a FIFO"):
            list_probabilities(tmp_path / "a.npz")

    def test_a_folder_that_is_shut(self, public_folder, as_another_user):
        (public_folder / "a.npz").touch()
        public_folder.chmod(0)
        with as_another_user(), pytest.raises(StudyError, match=r"cannot be listed \(Permission denied\)"):
            list_probabilities(public_folder)
