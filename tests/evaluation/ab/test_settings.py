import numpy as np
import pytest
import torch

from rankseg_med.calibration import Temperature, save_calibration
from rankseg_med.configuration.config import load_config
from rankseg_med.decode import RankSEGDecoder
from rankseg_med.evaluation import find_cases, structures_of
from rankseg_med.evaluation.ab.settings import label_maps, settings_of
from rankseg_med.workflows.decode import DecodeJob
from tests.evaluation.conftest import dirichlet
from tests.nnunet_output import write_output, write_phantoms
from tests.voxels import voxels_of


@pytest.fixture
def case(made_cases):
    return find_cases(*made_cases("a"))[0]


@pytest.fixture
def structures(case):
    return structures_of(case.study.files[0].parent, case.study)


def by_name(case, settings):
    return {setting.name: label_map.numpy() for setting, label_map in label_maps(case, settings)}


def test_label_maps_are_what_decode_writes(case, structures, tmp_path):
    overlay = tmp_path / "tuned.yaml"
    cleanup = "{_target_: rankseg_med.transforms.RemoveSmallComponents, minimum_ml: 1.0e+6, labels: [1]}"
    overlay.write_text(f"decoder::coherence: 0.3\ncleanup: {cleanup}\n")
    found = by_name(case, settings_of(structures, presence="always", overlay=overlay))
    assert list(found) == ["argmax", "RankSEG", "coherent", "tuned"]
    np.testing.assert_array_equal(found["argmax"], dirichlet(0).argmax(0))
    for name, coherence in (("RankSEG", 0.0), ("coherent", 1.0)):
        decoder = RankSEGDecoder("dice", coherence=coherence, presence="always")
        np.testing.assert_array_equal(found[name], decoder(torch.from_numpy(dirichlet(0))).numpy())
    load, decode, write = DecodeJob(load_config("decode", overlay), tmp_path / "out").build()
    (path,) = write(decode(load(case.study))).paths
    np.testing.assert_array_equal(found["tuned"], voxels_of(path))
    decoder = RankSEGDecoder("dice", coherence=0.3)
    kept = decoder(torch.from_numpy(dirichlet(0))).numpy()
    np.testing.assert_array_equal(found["tuned"], np.where(kept == 1, 0, kept))


def test_a_tuned_setting_may_calibrate(case, structures, tmp_path):
    calibration = Temperature(3)
    calibration.bias.copy_(torch.tensor([0.0, -9.0, 0.0]))
    save_calibration(calibration, tmp_path / "calibration.json")
    (tmp_path / "tuned.yaml").write_text(f"calibration: {tmp_path / 'calibration.json'}\n")
    found = by_name(case, settings_of(structures, overlay=tmp_path / "tuned.yaml"))
    assert (found["coherent"] == 1).any()
    assert not (found["tuned"] == 1).any()


def test_presence_and_metric_are_those_of_untuned_settings(structures, tmp_path):
    (tmp_path / "tuned.yaml").write_text("decoder::name: dice\n")
    settings = settings_of(structures, metric="iou", presence="always", overlay=tmp_path / "tuned.yaml")
    argmax, *others = (setting.build().decoder for setting in settings)
    assert not hasattr(argmax, "presence")
    assert [(decoder.metric, decoder.presence) for decoder in others] == [
        ("iou", "always"),
        ("iou", "always"),
        ("dice", "maybe"),
    ]
    assert [setting.metrics for setting in settings] == [set(), {"iou"}, {"iou"}, {"dice"}]


def test_unions_are_decoded_for(case, tmp_path):
    structures = structures_of(case.study.files[0].parent, case.study, regions={"all": (1, 2), "tumour": (2,)})
    found = by_name(case, settings_of(structures))
    decoder = RankSEGDecoder("dice", coherence=0.0, regions=[[1, 2], [2]])
    np.testing.assert_array_equal(found["RankSEG"], decoder(torch.from_numpy(dirichlet(0))).numpy())


def test_regions_by_sigmoid(tmp_path):
    write_phantoms(tmp_path)
    folder = tmp_path / "sigmoid"
    probabilities = write_output(folder, tmp_path, regions=True)
    case = find_cases(folder, tmp_path / "labels")[0]
    structures = structures_of(folder, case.study)
    found = by_name(case, settings_of(structures))
    np.testing.assert_array_equal(found["argmax"], voxels_of(folder / f"{case.case_id}.nii.gz"))
    masks = RankSEGDecoder("dice", coherence=0.0, mode="multilabel")(torch.from_numpy(probabilities[case.case_id]))
    organ, tumour = masks.numpy().transpose(0, 3, 2, 1)
    np.testing.assert_array_equal(found["RankSEG"], np.where(tumour, 2, organ))
    other = tmp_path / "tuned.yaml"
    other.write_text("region_channels: [[1, 2], [1]]\n")
    with pytest.raises(ValueError, match="takes the channels for regions by sigmoid that are not those"):
        settings_of(structures, overlay=other)
