"""Who is in which part of a split."""

import pytest
from experiment_data import DATA_SETS, ExperimentData, split_of

from tests.pipelines.made_data import make_images


def test_no_patient_is_in_two_parts_and_fewer_labels_are_a_part_of_more(tmp_path):
    case_ids = [f"{patient}_R_{nodule}" for patient in "abcdefghij" for nodule in (1, 2)]
    make_images(tmp_path, case_ids)
    data_set = ExperimentData("lung_nodules", "always", 1, 3, 2, 2, lambda case_id: case_id[0])
    for seed in range(3):
        few, more = (split_of(data_set, tmp_path, seed, labelled) for labelled in (1, 2))
        for split in (few, more):
            parts = [{study.case_id[0] for study in getattr(split, part)} for part in vars(split)]
            assert sum(map(len, parts)) == len(set.union(*parts)) == 10
            assert [len(part) for part in parts[2:]] == [2, 3]
        assert set(few.labelled) < set(more.labelled)
        assert few == split_of(data_set, tmp_path, seed, 1)
    assert split_of(data_set, tmp_path, 0, 1) != split_of(data_set, tmp_path, 1, 1)
    with pytest.raises(ValueError, match="must be 1 to 5 patients, got 6"):
        split_of(data_set, tmp_path, 0, 6)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "folder", "patients"),
    [
        ("hippocampus", "hippocampus", (6, 114, 20, 60)),
        ("lung_nodules", "lung_nodules", (11, 212, 74, 74)),
        ("sarcoma_pet", "sarcoma_pet", (8, 24, 8, 11)),
        ("left_atrium_small", "left_atrium", (8, 56, 16, 20)),
    ],
)
def test_splits_of_real_data(shared_data, name, folder, patients):
    data_set = DATA_SETS[name]
    split = split_of(data_set, shared_data / folder, 0, data_set.labelled)
    parts = [{data_set.patient_of(study.case_id) for study in getattr(split, part)} for part in vars(split)]
    assert tuple(map(len, parts)) == patients
    assert len(set.union(*parts)) == sum(patients)
