"""Plans are refused by name before anything that they name is looked up; nnU-Net need not be installed."""

import json
import sys

import pytest

from rankseg_med.nnunet import NnunetError, Plans
from rankseg_med.studies import StudyError
from tests.nnunet.given import dataset_of, plans_of, write_json


def read(tmp_path, plans=None, dataset=None, configuration="3d_fullres"):
    folder = write_json(tmp_path / "model", plans or plans_of(), dataset or dataset_of())
    return Plans.read(folder, configuration)


def changed(place, value):
    """Plans with one value of the base configuration changed; the place is a path of keys."""
    plans = plans_of()
    *path, last = place.split("/")
    where = plans["configurations"]["base"]
    for key in path:
        where = where[key]
    where[last] = value
    return plans


def test_what_a_model_expects(tmp_path):
    plans = read(tmp_path, plans_of(images=2, transpose=(1, 0, 2)), dataset_of(images=2))
    assert plans.labels.channels == 3
    assert plans.labels.names == {"organ": (1,), "tumour": (2,)}
    assert (plans.num_images, plans.transpose_forward, plans.reorients) == (2, (1, 0, 2), False)
    assert plans.own["spacing"] == [2.0, 1.5, 1.5]
    assert list(plans.plans["configurations"]) == ["3d_fullres"]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("architecture/network_class_name", "subprocess.Popen"),
        ("architecture/arch_kwargs/conv_op", "subprocess.Popen"),
        ("architecture/arch_kwargs/norm_op", "os.system"),
        ("architecture/arch_kwargs/dropout_op", "builtins.eval"),
        ("architecture/arch_kwargs/nonlin", "subprocess.Popen"),
        ("architecture/arch_kwargs/nonlin", ["subprocess.Popen"]),
        ("preprocessor_name", "MyPreprocessor"),
        ("normalization_schemes", ["CTNormalization", "my_module.Scheme"]),
        ("resampling_fn_data", "antigravity"),
        ("resampling_fn_seg", "antigravity"),
        ("resampling_fn_probabilities", "resample_my_way"),
    ],
)
def test_names_that_are_not_nnunets_own(tmp_path, place, name):
    before = set(sys.modules)
    found = name[-1] if isinstance(name, list) and "schemes" in place else name
    with pytest.raises(NnunetError) as error:
        read(tmp_path, changed(place, name))
    assert place.rpartition("/")[2] in str(error.value)
    assert repr(found) in str(error.value)
    assert not {"antigravity", "nnunetv2"} & (set(sys.modules) - before)


def test_what_is_imported_for_the_network_is_known_too(tmp_path):
    plans = changed("architecture/_kw_requires_import", ["conv_op", "norm_op_kwargs"])
    with pytest.raises(NnunetError, match=r"_kw_requires_import: must be .*'norm_op_kwargs'"):
        read(tmp_path, plans)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("image_reader_writer", "NaturalImage2DIO", "image_reader_writer: must be .*'NaturalImage2DIO'"),
        ("label_manager", "MyLabels", "label_manager: must be .*'MyLabels'"),
        ("transpose_backward", [1, 2, 0], r"one the other way round, got \[0, 1, 2\] and \[1, 2, 0\]"),
        ("configurations", {"3d_fullres": {"inherits_from": "3d_fullres"}}, "3d_fullres from 3d_fullres"),
        ("configurations", {"3d_fullres": {"inherits_from": "gone"}}, "3d_fullres from gone"),
        ("configurations", {"3d_fullres": {"spacing": [1, 1, 1]}}, "is not nnU-Net's plan of a network"),
        ("configurations", [], "is not nnU-Net's plans.json"),
    ],
)
def test_plans_that_are_none(tmp_path, entry, value, message):
    with pytest.raises(NnunetError, match=message):
        read(tmp_path, {**plans_of(), entry: value})


def test_cascades(tmp_path):
    with pytest.raises(NnunetError, match=r"is a cascade, .* such as 3d_fullres"):
        read(tmp_path, changed("previous_stage", "3d_lowres"))


def test_a_configuration_that_is_not_there(tmp_path):
    with pytest.raises(NnunetError, match=r"one of the configurations base, 3d_fullres, .* got 2d"):
        read(tmp_path, configuration="2d")


def test_plans_older_than_architectures(tmp_path):
    plans = plans_of()
    base = plans["configurations"]["base"]
    del base["architecture"]
    base["UNet_class_name"] = "PlainConvUNet"
    assert "architecture" not in read(tmp_path / "plain", plans).own
    base["UNet_class_name"] = "subprocess.Popen"
    with pytest.raises(NnunetError, match=r"UNet_class_name: must be .*'subprocess.Popen'"):
        read(tmp_path / "other", plans)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (dataset_of({"background": 0, "organ": 1, "tumour": 3}), r"without a gap.*got \[1, 3\]"),
        (dataset_of({"background": 0, "organ": 300}), r"up to 255, got \[300\]"),
        ({**dataset_of(), "channel_names": {}}, "must have channel_names"),
        ({"channel_names": {"0": "CT"}}, "is not nnU-Net's dataset.json .labels"),
    ],
)
def test_data_sets_that_are_none(tmp_path, dataset, message):
    with pytest.raises(NnunetError, match=message):
        read(tmp_path, dataset=dataset)


def test_missing_files(tmp_path):
    with pytest.raises(StudyError, match=r"plans\.json: there is no such file"):
        Plans.read(tmp_path, "3d_fullres")
    (tmp_path / "plans.json").write_text(json.dumps(plans_of()))
    with pytest.raises(StudyError, match=r"dataset\.json: there is no such file"):
        Plans.read(tmp_path, "3d_fullres")
