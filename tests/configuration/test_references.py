import pytest


@pytest.mark.parametrize(
    ("entry", "place", "missing", "meant"),
    [
        ("inferer::roi_size: '@rio_size'", "inferer::roi_size", "rio_size", "roi_size"),
        ("inferer::roi_size: '%rio_size'", "inferer::roi_size", "rio_size", "roi_size"),
        ("num_classes: $len(@label_nams)", "num_classes", "label_nams", "label_names"),
        ("preprocessing::transforms::3: '@intensty'", "preprocessing::transforms::3", "intensty", "intensity"),
        ("num_classes: '@network_def::channel'", "num_classes", "network_def::channel", "network_def::channels"),
    ],
)
def test_references_that_lead_nowhere(refusal, entry, place, missing, meant):
    expected = f"{place}: refers to {missing}, but there is no such entry; did you mean {meant}?"
    assert refusal(f"extends: demo\n{entry}\n") == expected


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("roi_size: '@inferer::roi_size'", "detected circular references"),
        ("inferer::roi_size: '@::::::roi_size'", "inferer::roi_size: the relative id"),
        ("num_classes: $len(", "num_classes: $len( cannot be evaluated: "),
        ("num_classes: $1 / 0", "num_classes: $1 / 0 cannot be evaluated: division by zero"),
        ("roi_size: '%no_such_file.yaml::roi'", "a macro (%) or relative reference (@::) leads nowhere"),
    ],
)
def test_what_cannot_be_resolved(refusal, entry, message):
    assert message in refusal(f"extends: demo\n{entry}\n")


def test_an_entry_of_the_data_set_that_is_missing(refusal):
    identity = "{_target_: Identity}"
    overlay = f"label_names: [a, b]\nnetwork_def: {identity}\nintensity: {identity}\nroi_size: [8, 8, 8]\n"
    assert refusal(overlay).startswith(
        "preprocessing::transforms::2::pixdim: refers to spacing_mm, but there is no such"
    )
