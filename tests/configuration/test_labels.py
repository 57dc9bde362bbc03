import pytest

TRANSFORMS = "rankseg_med.transforms"


@pytest.mark.parametrize(
    ("cleanup", "place", "found"),
    [
        ("{_target_: T.KeepLargestComponent, labels: [3]}", "labels", "3"),
        ("{_target_: T.KeepLargestComponent, labels: [[1, 2, 7]]}", "labels", "7"),
        ("{_target_: T.RemoveSmallComponents, minimum_ml: 1, labels: [4]}", "labels", "4"),
        ("{_target_: T.FillLabelHoles, labels: [0]}", "labels", "0"),
        ("{_target_: T.FillLabelHoles, labels: [-1]}", "labels", "-1"),
        ("{_target_: T.FillLabelHoles, labels: [1.5]}", "labels", "1.5"),
        ("{_target_: T.FillLabelHoles, labels: [true]}", "labels", "True"),
        ("{_target_: T.KeepTouching, labels: [3], organ: 1}", "labels", "3"),
        ("{_target_: T.KeepTouching, labels: [2], organ: 9}", "organ", "9"),
        ("{_target_: T.KeepTouching, labels: [2], organ: [1, 9]}", "organ", "9"),
        ("{_target_: T.FillLabelHoles, labels: '$[i for i in (1, 3)]'}", "labels", "3"),
        (
            "{_target_: Compose, transforms: [{_target_: Identity}, {_target_: T.FillLabelHoles, labels: [3]}]}",
            "transforms::1::labels",
            "3",
        ),
    ],
)
@pytest.mark.parametrize("job", ["inference", "train", "decode"])
def test_labels_that_do_not_exist(refusal, job, cleanup, place, found):
    message = refusal(f"extends: demo\ncleanup: {cleanup.replace('T.', f'{TRANSFORMS}.')}\n", job)
    assert message == f"cleanup::{place}: there is no label {found}; labels are 1 (organ), 2 (tumour)"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("cleanup::labels: [tumor]", "there is no label 'tumor'; labels are 1 (organ), 2 (tumour); did you mean 2?"),
        ("cleanup::labels: 1", "cleanup::labels: must be a list of labels and of groups of labels"),
        ("cleanup::labels: [[]]", "cleanup::labels: has a group without labels"),
        ("cleanup::labels: true", "cleanup::labels: must be a list"),
        ("decoder::regions: [[1, 2], [3]]", "decoder::regions: there is no label 3; labels are 1 (organ), 2 (tumour)"),
        ("decoder::regions: [1, 2]", "decoder::regions: must be a list of groups of labels"),
        (
            f"keep: {{_target_: {TRANSFORMS}.KeepLargestComponent, labels: [3]}}\ncleanup: '@keep'",
            "keep::labels: there is no label 3",
        ),
    ],
)
def test_what_is_no_list_of_labels(refusal, entry, message):
    assert message in refusal(f"extends: demo\n{entry}\n")


def test_pseudo_labels(refusal, load):
    message = refusal("extends: bcp_hippocampus\npseudo_labeller::largest_component: [[1, 3]]\n", "train")
    assert message == (
        "pseudo_labeller::largest_component: there is no label 3; labels are 1 (anterior), 2 (posterior)"
    )
    load("extends: bcp_hippocampus\npseudo_labeller::largest_component: true\n", "train")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("region_channels: [[1, 2], [1, 2]]", "region_channels: every region must have exactly one label"),
        ("region_channels: [1, 2]", "region_channels: must be a list of groups of labels"),
        ("region_channels: whole", "region_channels: must be a list of groups of labels"),
        ("region_channels: [[1, 2], [tumour]]", "region_channels: there is no label 'tumour'; labels are 1 to 255"),
        ("region_channels: [[256]]", "region_channels: there is no label 256"),
        ("label_names: [a, b, c]\nregion_channels: [[1, 3], [3]]", "there is no label 3; labels are 1 (b), 2 (c)"),
        (
            f"region_channels: [[1, 2], [2]]\ncleanup: {{_target_: {TRANSFORMS}.FillLabelHoles, labels: [3]}}",
            "cleanup::labels: there is no label 3; labels are 1, 2",
        ),
    ],
)
def test_region_channels(refusal, entry, message):
    assert message in refusal(f"{entry}\n", "decode")


def test_without_names_labels_are_any(load):
    load(f"cleanup: {{_target_: {TRANSFORMS}.FillLabelHoles, labels: [200]}}\n", "decode")
    load("region_channels: [[1, 2, 4], [1, 4], [4]]\n", "decode")
