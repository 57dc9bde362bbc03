"""Names of BIDS derivatives, as section "Imaging data types" of BIDS 1.11 and its validator 3.0.2 have them."""

from pathlib import Path

import pytest

from rankseg_med.errors import InputError
from rankseg_med.studies.bids.names import BidsName, check_names_differ, common_dataset, dataset_of, entities_in


@pytest.mark.parametrize(
    ("case_id", "folder", "path"),
    [
        ("sub-01_ses-2_T1w", "raw/sub-01/ses-2/anat", "sub-01/ses-2/anat/sub-01_ses-2_dseg.nii.gz"),
        ("sub-01_ses-2_T1w", "images", "sub-01/ses-2/anat/sub-01_ses-2_dseg.nii.gz"),
        ("sub-01", "sub-01", "sub-01/anat/sub-01_dseg.nii.gz"),
        ("sub-01_run-02_bold", "raw/sub-01/func", "sub-01/anat/sub-01_run-02_dseg.nii.gz"),
        ("sub-1_task-rest_dir-AP_echo-1_bold", "func", "sub-1/func/sub-1_task-rest_dir-AP_echo-1_dseg.nii.gz"),
        ("sub-1_acq-b_dir-AP_dwi", "dwi", "sub-1/dwi/sub-1_acq-b_dir-AP_dseg.nii.gz"),
        # What segmentations have not, or not there.
        ("sub-1_trc-FDG_run-2_pet", "raw/sub-1/pet", "sub-1/anat/sub-1_run-2_dseg.nii.gz"),
        ("sub-1_dir-AP_T1w", "anat", "sub-1/anat/sub-1_dseg.nii.gz"),
        ("sub-1_task-x_ce-y_dwi", "dwi", "sub-1/dwi/sub-1_dseg.nii.gz"),
        # In the order of BIDS, which validators insist on.
        ("sub-1_desc-p_res-hi_space-MNI_run-1_acq-x_T1w", "", "sub-1/anat/sub-1_acq-x_run-1_space-MNI_res-hi_desc-p"),
        # No names of BIDS.
        ("liver_12", "imagesTr", "sub-liver12/anat/sub-liver12_dseg.nii.gz"),
        ("Müller 3 (b).v2", "images", "sub-Muller3bv2/anat/sub-Muller3bv2_dseg.nii.gz"),
        ("sub-01_lesion_T1w", "anat", "sub-01lesionT1w/anat/sub-01lesionT1w_dseg.nii.gz"),
        ("sub-1_run-A_T1w", "anat", "sub-1runAT1w/anat/sub-1runAT1w_dseg.nii.gz"),
        ("sub-1_acq-a_acq-b_T1w", "anat", "sub-1acqaacqbT1w/anat/sub-1acqaacqbT1w_dseg.nii.gz"),
        ("ses-1_T1w", "anat", "sub-ses1T1w/anat/sub-ses1T1w_dseg.nii.gz"),
    ],
)
def test_paths(case_id, folder, path):
    name = BidsName.of(case_id, [Path(folder) / f"{case_id}.nii.gz"])
    assert str(name.path()).removesuffix("_dseg.nii.gz") == path.removesuffix("_dseg.nii.gz")
    assert str(name.path()).endswith("_dseg.nii.gz")


def test_the_folder_is_the_first_that_segmentations_lie_in():
    """Stored probabilities lie anywhere, and their image in the data set."""
    inputs = [Path("probabilities/sub-1_dwi.npz"), Path("raw/sub-1/dwi/sub-1_dwi.nii.gz")]
    assert str(BidsName.of("sub-1_dwi", inputs).path("_probseg.nii.gz")) == "sub-1/dwi/sub-1_probseg.nii.gz"


def test_nothing_to_make_a_name_of():
    with pytest.raises(InputError, match="'肝_': must have a letter or digit"):
        BidsName.of("肝_", [Path("a")])


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        ("sub-01_T1w", "sub-01_T2w", "sub-01/anat/sub-01_dseg"),
        ("liver_12", "liver-12", "sub-liver12/anat/sub-liver12_dseg"),
        ("sub-01_T1w", "01", "sub-01/anat/sub-01_dseg"),
        ("sub-a_T1w", "sub-A_T1w", "sub-A/anat/sub-A_dseg"),
    ],
)
def test_two_studies_of_one_name(first, second, path):
    with pytest.raises(InputError, match=f"{first} and {second} would both be {path}.nii.gz"):
        check_names_differ({first: [Path("a")], "sub-02_T1w": [Path("b")], second: [Path("c")]})


def test_names_that_differ():
    check_names_differ(
        {name: [Path(name)] for name in ("sub-01_acq-a_T1w", "sub-01_T1w", "sub-01_space-x_T1w", "1", "2")}
    )


def test_entities():
    assert entities_in("sub-01_ses-2_T1w") == entities_in("sub-01_ses-2") == {"sub": "01", "ses": "2"}
    assert entities_in("sub-01_ses-2_T1w_x") == entities_in("a_sub-01") == {}


def test_data_sets():
    assert dataset_of(Path("/a/sub-1/ses-2/anat/sub-1_T1w.nii.gz")) == Path("/a")
    assert dataset_of(Path("/sub-9/out/sub-1/anat/x")) == Path("/sub-9/out")
    assert dataset_of(Path("/a/b/liver_1.nii.gz")) == Path("/a/b")
    assert common_dataset([Path("/a/sub-1/anat/x"), Path("/a/sub-2/ses-1/anat/y")]) == Path("/a")
    assert common_dataset([Path("/a/p/x.npz"), Path("/a/images/x.nii.gz")]) == Path("/a")
    assert common_dataset([Path("x.nii.gz")]) == Path.cwd()
