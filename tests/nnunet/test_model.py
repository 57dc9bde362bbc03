"""From image files to label maps with a trained model: decoders, ensembles, other files, and what is refused."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
import torch

from rankseg_med.calibration import IsotonicCalibration, Temperature
from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder, decode_ensemble
from rankseg_med.inference import InferenceError
from rankseg_med.networks import CheckpointError
from rankseg_med.nnunet import ModelFolder, NnunetError, NnunetModel
from rankseg_med.studies import StudyError, content_digest
from tests.conftest import REPOSITORY
from tests.nnunet.given import dataset_of, plans_of, write_image, write_model
from tests.nnunet.reference import nnunet_says

pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (extra nnunet)")

SMALL = {"shape": (20, 18, 12)}
FEW = 2e-3
"""Share of voxels that may differ: sessions keep probabilities as 16-bit levels."""


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path / "case_0000.nii.gz", **SMALL)


@pytest.fixture
def two_folds(tmp_path):
    return write_model(tmp_path / "model", plans_of(), dataset_of(), folds=(0, 3))


def test_dice_is_decoded_of_its_probabilities(two_folds, image, tmp_path):
    said = nnunet_says(two_folds, [image], tmp_path / "said", folds=(0, 3))
    decoder = RankSEGDecoder("dice")
    decoded = NnunetModel.load(two_folds, decoder, store="disk", store_folder=tmp_path)(image)
    expected = decoder.decode(torch.from_numpy(said.probabilities))
    assert (decoded.label_map != expected.label_map).double().mean() < FEW
    assert (decoded.label_map.numpy() != said.labels).mean() > FEW
    assert [d.labels for d in decoded.decisions] == [(1,), (2,)]
    assert decoded.decisions[0].expected_score == pytest.approx(expected.decisions[0].expected_score, abs=1e-3)


def test_several_folds_by_probabilities(two_folds, image, tmp_path):
    each = [nnunet_says(two_folds, [image], tmp_path / str(fold), folds=[fold]).probabilities for fold in (0, 3)]
    mean = NnunetModel.load(two_folds, ArgmaxDecoder(), ensemble="mean")
    np.testing.assert_allclose(mean.probabilities(image).numpy(), np.mean(each, 0), rtol=0, atol=1e-3)
    assert (mean(image).label_map.numpy() != np.mean(each, 0).argmax(0)).mean() < FEW

    decoder = RankSEGDecoder("dice")
    decoded = NnunetModel.load(two_folds, decoder, ensemble="decode")(image)
    expected = decode_ensemble([torch.from_numpy(one) for one in each], decoder)
    assert (decoded.label_map != expected.label_map).double().mean() < FEW


def test_one_fold_of_several(two_folds, image, tmp_path):
    said = nnunet_says(two_folds, [image], tmp_path / "said", folds=[3])
    model = NnunetModel.load(two_folds, ArgmaxDecoder(), folds=[3], export="exact")
    np.testing.assert_array_equal(model(image).label_map.numpy(), said.labels)


def test_regions_are_decoded_one_by_one_and_painted_in_order(image, tmp_path):
    dataset = dataset_of({"background": 0, "whole": [1, 2], "core": 2}, order=[1, 2])
    folder = write_model(tmp_path / "model", plans_of(), dataset)
    said = nnunet_says(folder, [image], tmp_path / "said")
    decoded = NnunetModel.load(folder, RankSEGDecoder("dice"))(image)
    masks = RankSEGDecoder("dice", mode="multilabel").decode(torch.from_numpy(said.probabilities)).label_map
    expected = torch.where(masks[1] > 0, 2, masks[0])
    assert (decoded.label_map != expected).double().mean() < FEW
    assert [d.labels for d in decoded.decisions] == [(1, 2), (2,)]


@pytest.mark.parametrize("reader", ["NibabelIO", "NibabelIOWithReorient"])
def test_files_that_its_reader_does_not_take(reader, tmp_path):
    folder = write_model(tmp_path / "model", plans_of(reader=reader, transpose=(1, 2, 0)), dataset_of())
    image = write_image(tmp_path / "case_0000.nii.gz", axcodes="SAL", border=3)
    said = nnunet_says(folder, [image], tmp_path / "said")
    other = tmp_path / "case.nrrd"
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(image)), str(other))
    model = NnunetModel.load(folder, ArgmaxDecoder(), export="exact")
    np.testing.assert_array_equal(model(other).label_map.numpy(), said.labels)


def test_plans_older_than_architectures(image, tmp_path):
    new = write_model(tmp_path / "new", plans_of(), dataset_of())
    old = plans_of()
    architecture = old["configurations"]["base"].pop("architecture")["arch_kwargs"]
    old["configurations"]["base"].update(
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=4,
        unet_max_num_features=320,
        n_conv_per_stage_encoder=architecture["n_conv_per_stage"],
        n_conv_per_stage_decoder=architecture["n_conv_per_stage_decoder"],
        num_pool_per_axis=[1, 1, 1],
        pool_op_kernel_sizes=architecture["strides"],
        conv_kernel_sizes=architecture["kernel_sizes"],
    )
    maps = [
        NnunetModel.load(folder, ArgmaxDecoder())(image).label_map
        for folder in (new, write_model(tmp_path / "old", old, dataset_of()))
    ]
    assert torch.equal(*maps)


@pytest.mark.slow
def test_nothing_is_imported_that_needs_torchvision(image, two_folds):
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from rankseg_med.decode import ArgmaxDecoder\nfrom rankseg_med.nnunet import NnunetModel\n"
        "NnunetModel.load(Path(sys.argv[1]), ArgmaxDecoder())(Path(sys.argv[2]))\n"
        "assert not {'timm', 'torchvision'} & sys.modules.keys()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, two_folds, image], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    assert run.stdout == ""


def test_calibration_is_of_what_is_decoded(two_folds, image):
    model = NnunetModel.load(two_folds, ArgmaxDecoder())
    certain = Temperature(3)
    certain.inverse_temperature.fill_(1e3)
    decoded = replace(model, decoder=RankSEGDecoder("dice"), calibration=certain)(image)
    assert (decoded.label_map != model(image).label_map).double().mean() < FEW
    with pytest.raises(NnunetError, match="must be of the model's 3 exclusive classes, got Isotonic"):
        replace(model, calibration=IsotonicCalibration(4))


def test_settings_that_do_not_go_together(two_folds, wrong_types):
    model = NnunetModel.load(two_folds, ArgmaxDecoder())
    for settings, message in [
        ({"decoder": RankSEGDecoder("dice", mode="multilabel")}, "exclusive classes needs a decoder with mode 'multic"),
        ({"ensemble": "decode"}, "needs exclusive classes and a decoder for dice or iou, got Argmax"),
        ({"ensemble": "median"}, "one of logits, mean, decode, got 'median'"),
    ]:
        with pytest.raises(NnunetError, match=message):
            replace(model, **settings)
    with pytest.raises(NnunetError, match="must be slabs or exact, got 'fast'"):
        NnunetModel.load(two_folds, ArgmaxDecoder(), export="fast")
    with pytest.raises(NnunetError, match="step_size must be above 0 and at most 1, got 0"):
        NnunetModel.load(two_folds, ArgmaxDecoder(), step_size=0)
    with pytest.raises(NnunetError, match="must be of configuration 3d_lowres, is of 3d_fullres"):
        NnunetModel.load(two_folds, ArgmaxDecoder(), configuration="3d_lowres")


def test_resampling_that_slabs_cannot_do(image, tmp_path):
    plans = plans_of()
    plans["configurations"]["base"]["resampling_fn_probabilities_kwargs"]["order"] = 3
    folder = write_model(tmp_path / "model", plans, dataset_of())
    with pytest.raises(NnunetError, match=r"got \{'order': 3\}; use export 'exact'"):
        NnunetModel.load(folder, ArgmaxDecoder())
    said = nnunet_says(folder, [image], tmp_path / "said")
    model = NnunetModel.load(folder, ArgmaxDecoder(), export="exact")
    np.testing.assert_array_equal(model(image).label_map.numpy(), said.labels)


def test_folds_of_different_trainings(tmp_path):
    folder = write_model(tmp_path / "model", plans_of(), dataset_of())
    write_model(folder, plans_of(), dataset_of(), folds=(1,), trainer_name="nnUNetTrainerNoMirroring")
    with pytest.raises(NnunetError, match="must be of the same trainer, configuration and mirroring"):
        NnunetModel.load(folder, ArgmaxDecoder())


def test_weights_of_another_network(two_folds):
    write_model(two_folds, plans_of(images=2), dataset_of(images=2), folds=(3,))
    with pytest.raises(CheckpointError, match=r"fold_0.*does not fit the network .*of another shape"):
        NnunetModel.load(two_folds, ArgmaxDecoder())


def test_files_that_changed_meanwhile(two_folds):
    folder = ModelFolder.find(two_folds)
    hashes = [content_digest(path) for path in folder.files]
    NnunetModel.load(folder, ArgmaxDecoder(), sha256=hashes)
    for place, kind in ((0, NnunetError), (1, NnunetError), (3, CheckpointError)):
        with pytest.raises(kind, match="is not the file that it was when the run began"):
            NnunetModel.load(folder, ArgmaxDecoder(), sha256=[*hashes[:place], "0" * 64, *hashes[place + 1 :]])


def test_studies_that_cannot_be_used(two_folds, image, tmp_path):
    model = NnunetModel.load(two_folds, ArgmaxDecoder())
    with pytest.raises(StudyError, match="must have 1 images, one for each of nnU-Net's channel_names, got 2"):
        model([image, image])
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(image.read_bytes()[:-2000])
    with pytest.raises(StudyError, match=r"damaged\.nii\.gz: cannot be read"):
        model(damaged)


def test_a_network_that_lost_its_way(tmp_path, image):
    folder = write_model(tmp_path / "model", plans_of(), dataset_of(), gain=1e6)
    with pytest.raises((InferenceError, RuntimeError), match=r"NaN or inf|inf in predicted"):
        NnunetModel.load(folder, ArgmaxDecoder())(image)


def test_an_image_of_nothing(two_folds, tmp_path):
    image = write_image(tmp_path / "empty.nii.gz", border=6, **SMALL)
    assert NnunetModel.load(two_folds, ArgmaxDecoder())(image).label_map.shape == (20, 18, 12)
