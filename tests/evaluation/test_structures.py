import json

import pytest

from rankseg_med.evaluation import find_cases, structures_of
from rankseg_med.evaluation.structures import names_by_label
from rankseg_med.studies import StudyError


@pytest.fixture
def study(made_cases):
    (case,) = find_cases(*made_cases("a"))
    return case.study


@pytest.fixture
def folder(study):
    return study.files[0].parent


def dataset(folder, **labels):
    regions = {"regions_class_order": [1, 2]} if any(isinstance(values, list) for values in labels.values()) else {}
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **labels}, **regions}))


def test_every_class_where_nothing_says_more(folder, study):
    found = structures_of(folder, study)
    assert (found.names, found.channels, found.regions) == ({"label 1": (1,), "label 2": (2,)}, 3, None)


def test_dataset_json(folder, study):
    dataset(folder, organ=1, tumour=2)
    assert structures_of(folder, study).names == {"organ": (1,), "tumour": (2,)}
    assert structures_of(folder, study, regions={"all": (1, 2)}).names == {"all": (1, 2)}
    dataset(folder, organ=[1, 2], tumour=2)
    assert structures_of(folder, study).regions.regions == ((1, 2), (2,))
    with pytest.raises(ValueError, match="channels are regions by sigmoid"):
        structures_of(folder, study, labels={1: "organ"})


def test_options(folder, study):
    assert structures_of(folder, study, labels={2: "tumour"}).names == {"tumour": (2,)}
    found = structures_of(folder, study, region_channels={"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)})
    assert found.regions.painted == ((0, 1), (1, 2), (2, 3))
    with pytest.raises(StudyError, match="labels are 1 to 2; got 3"):
        structures_of(folder, study, regions={"all": (1, 3)})
    with pytest.raises(ValueError, match="give one of them"):
        structures_of(folder, study, labels={1: "organ"}, regions={"all": (1, 2)})


def test_a_label_is_called_by_the_smallest_structure_that_has_it():
    nested = {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert names_by_label(nested) == {1: "whole", 2: "core", 3: "enhancing"}
    assert names_by_label(dict(reversed(nested.items()))) == {1: "whole", 2: "core", 3: "enhancing"}
