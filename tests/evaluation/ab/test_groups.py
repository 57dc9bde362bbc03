from rankseg_med.evaluation.ab.groups import groups_of
from rankseg_med.metrics import Evaluation, Region, RegionScores, VoxelCounts

ORGAN, TUMOUR = Region("organ", (1,)), Region("tumour", (2,))
UNCOUNTED = VoxelCounts(0, 0, 0, 0)


def evaluation(**volumes):
    """Predicted and reference volume of the tumour."""
    return Evaluation(
        (ORGAN, TUMOUR),
        {
            case_id: [
                RegionScores(ORGAN, {}, 1, 1, UNCOUNTED),
                RegionScores(TUMOUR, {}, predicted, reference, UNCOUNTED),
            ]
            for case_id, (predicted, reference) in volumes.items()
        },
    )


def test_thirds_by_size_and_what_is_empty():
    found = groups_of(
        evaluation(a=(1, 7), b=(0, 5), c=(1, 0), d=(0, 0), e=(9, 1), f=(9, 2), g=(9, 3), h=(9, 100)), "tumour"
    )
    assert {group.name: "".join(sorted(group.case_ids)) for group in found} == {
        "smallest third, 1 to 2 ml": "ef",
        "middle third, 3 to 5 ml": "bg",
        "largest third, 7 to 100 ml": "ah",
        "reference empty": "cd",
        "argmax empty": "bd",
        "argmax not empty": "acefgh",
    }


def test_groups_without_cases_are_left_out():
    found = groups_of(evaluation(a=(1, 7), b=(0, 0)), "organ")
    assert found == []
    assert [group.name for group in groups_of(evaluation(a=(1, 7), b=(0, 0)), "tumour")] == [
        "reference empty",
        "argmax empty",
        "argmax not empty",
    ]
