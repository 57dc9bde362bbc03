"""Folders as nnU-Net leaves them: decoded as by hand, on the grid that SimpleITK sees."""

import json
import pickle
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch

from rankseg_med.cleanup import keep_largest_component
from rankseg_med.configuration.config import load_config
from rankseg_med.decode import ArgmaxDecoder, AtHalfDecoder, RankSEGDecoder, RegionChannels
from rankseg_med.runs.run import run_job
from rankseg_med.studies import StudyError, find_probabilities, read_nnunet_labels
from rankseg_med.transforms import KeepLargestComponent, RemoveSmallComponents
from rankseg_med.workflows.decode import DecodeJob, Decoding
from rankseg_med.workflows.label_maps import LabelMaps
from tests.nnunet_output import GRIDS, write_output, write_phantoms
from tests.voxels import voxels_of


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder)
    return folder


@pytest.fixture(scope="module")
def softmax(phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("softmax") / "predictions"
    return folder, write_output(folder, phantoms)


@pytest.fixture(scope="module")
def sigmoid(phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sigmoid") / "predictions"
    return folder, write_output(folder, phantoms, regions=True)


@pytest.fixture
def decoding(tmp_path):
    return Decoding(RankSEGDecoder(), LabelMaps(tmp_path / "out"))


def run(decoding, study):
    return decoding.write(decoding.decode(decoding.load(study)))


def as_sitk(labels: np.ndarray, like) -> SimpleITK.Image:
    """``(Z, Y, X)`` on the grid of a file."""
    image = SimpleITK.GetImageFromArray(labels)
    image.CopyInformation(SimpleITK.ReadImage(str(like)))
    return image


def check_same_image(path, expected: SimpleITK.Image) -> None:
    written = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(written), SimpleITK.GetArrayFromImage(expected))
    for property_of in (SimpleITK.Image.GetOrigin, SimpleITK.Image.GetSpacing, SimpleITK.Image.GetDirection):
        np.testing.assert_allclose(property_of(written), property_of(expected), atol=1e-4)


@pytest.mark.parametrize("case", GRIDS)
@pytest.mark.parametrize(
    "decoder", [RankSEGDecoder(presence="always"), RankSEGDecoder("iou", coherence=0), ArgmaxDecoder()]
)
@pytest.mark.parametrize("store", ["memory", "disk"])
def test_label_map_is_that_of_the_array_on_its_grid(softmax, decoding, phantoms, case, decoder, store):
    folder, probabilities = softmax
    study = {study.case_id: study for study in find_probabilities(folder)}[case]
    written = run(replace(decoding, decoder=decoder, store=store), study)
    by_hand = decoder(torch.from_numpy(probabilities[case])).numpy()
    assert set(np.unique(by_hand)) == {0, 1, 2}
    check_same_image(written.paths[0], as_sitk(by_hand, phantoms / "images" / f"{case}.nii.gz"))


def test_argmax_is_nnunets_own_label_map(softmax, decoding):
    folder, _ = softmax
    for study in find_probabilities(folder):
        written = run(replace(decoding, decoder=ArgmaxDecoder()), study)
        check_same_image(written.paths[0], SimpleITK.ReadImage(str(folder / f"{study.case_id}.nii.gz")))


def test_regions_at_half_are_nnunets_own_label_map(sigmoid, decoding):
    folder, _ = sigmoid
    at_half = replace(decoding, decoder=AtHalfDecoder(), regions=read_nnunet_labels(folder).regions)
    for study in find_probabilities(folder):
        written = run(at_half, study)
        check_same_image(written.paths[0], SimpleITK.ReadImage(str(folder / f"{study.case_id}.nii.gz")))


def test_regions_are_decoded_each_for_itself(sigmoid, decoding):
    folder, probabilities = sigmoid
    decoder = RankSEGDecoder(mode="multilabel")
    regions = replace(decoding, decoder=decoder, regions=RegionChannels.of([[1, 2], [2]]))
    study = find_probabilities(folder)[0]
    written = run(regions, study)
    organ, tumour = decoder(torch.from_numpy(probabilities[study.case_id])).numpy()
    check_same_image(written.paths[0], as_sitk(np.where(tumour, 2, organ).astype(np.uint8), study.grid))
    assert [decision["labels"] for decision in written.details["decisions"]] == [(1, 2), (2,)]
    assert [decision["voxels"] for decision in written.details["decisions"]] == [organ.sum(), tumour.sum()]


def test_decisions_speak_of_the_label_map(softmax, decoding):
    study = find_probabilities(softmax[0])[0]
    written = run(decoding, study)
    labels = voxels_of(written.paths[0])
    for label, decision in enumerate(written.details["decisions"], 1):
        assert decision["voxels"] == np.count_nonzero(labels == label)
        assert 0 < decision["argmax_expected_score"] <= decision["expected_score"] <= 1
    assert written.details["decoder"] == repr(decoding.decoder)
    json.dumps(dict(written.details), allow_nan=False)


def test_cleanup_is_used_and_knows_the_size_of_a_voxel(softmax, decoding):
    study = find_probabilities(softmax[0])[0]

    def labels(cleanup):
        return np.asarray(
            nib.load(
                run(replace(decoding, label_maps=replace(decoding.label_maps, cleanup=cleanup)), study).paths[0]
            ).dataobj
        )

    everything = labels(None)
    largest = KeepLargestComponent([1])
    np.testing.assert_array_equal(labels(largest), keep_largest_component(everything, [1]))
    assert (labels(largest) != everything).any()
    assert not labels(RemoveSmallComponents(minimum_ml=1e6)).any()


def test_four_axes_of_nifti_lie_where_they_say(softmax, decoding, tmp_path):
    """No other file says where."""
    folder, probabilities = softmax
    for case, values in probabilities.items():
        grid = nib.load(folder / f"{case}.nii.gz")
        (tmp_path / "nifti").mkdir(exist_ok=True)
        image = nib.Nifti1Image(values.transpose(3, 2, 1, 0), grid.affine, grid.header)
        image.set_data_dtype(np.float32)
        nib.save(image, tmp_path / "nifti" / f"{case}.nii.gz")
    arrays = {study.case_id: study for study in find_probabilities(folder)}
    for study in find_probabilities(tmp_path / "nifti"):
        expected = run(
            replace(decoding, label_maps=replace(decoding.label_maps, folder=tmp_path / "expected")),
            arrays[study.case_id],
        )
        check_same_image(run(decoding, study).paths[0], SimpleITK.ReadImage(str(expected.paths[0])))


def case_of(tmp_path, array, shape=(4, 5, 6)):
    tmp_path = tmp_path / "in"
    tmp_path.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), tmp_path / "case.nii.gz")
    np.save(tmp_path / "case.npy", array.astype(np.float32))
    (study,) = find_probabilities(tmp_path)
    return study


def softmax_of(classes):
    return np.random.default_rng(0).dirichlet(np.ones(classes), (4, 5, 6)).transpose(3, 0, 1, 2)


def with_nan():
    values = softmax_of(3)
    values[1, 2, 3, 4] = np.nan
    return values


REGIONS = RegionChannels.of([[1, 2], [2]])


@pytest.mark.parametrize(
    ("array", "changes", "message"),
    [
        (with_nan(), {}, "must be finite, got NaN or infinite values"),
        (softmax_of(3) * 9 - 4, {}, "these look like logits"),
        (np.full((3, 4, 5, 6), 0.9), {}, "must sum to one .*a sigmoid used in its place"),
        (softmax_of(3), {"num_channels": 4}, "must have 4 channels, one for each class, background included, got 3"),
        (softmax_of(1), {}, "must have a channel per class, the background first, got 1 in all"),
        (
            softmax_of(2),
            {"regions": REGIONS, "decoder": RankSEGDecoder(mode="multilabel")},
            r"must be independent \(sigmoid\), but sum to one",
        ),
        (
            softmax_of(3),
            {"regions": REGIONS, "decoder": AtHalfDecoder(), "num_channels": 2},
            "one for each region, got 3",
        ),
        (np.full((2, 4, 5, 6), 1.7), {"regions": REGIONS, "decoder": AtHalfDecoder()}, "must lie in"),
    ],
)
def test_values_that_are_no_probabilities(tmp_path, decoding, array, changes, message):
    study = case_of(tmp_path, array)
    with pytest.raises(StudyError, match=message) as raised:
        replace(decoding, **changes).load(study)
    assert str(study.files[0]) in str(raised.value)


def test_one_region_by_itself(tmp_path, decoding):
    values = softmax_of(3)[:1]
    one = replace(decoding, decoder=AtHalfDecoder(), regions=RegionChannels.of([[7]]))
    written = run(one, case_of(tmp_path, values))
    labels = voxels_of(written.paths[0])
    np.testing.assert_array_equal(labels, np.where(values[0].astype(np.float32) > 0.5, 7, 0))


def test_nothing_found_is_an_empty_label_map(tmp_path, decoding):
    values = np.zeros((3, 4, 5, 6))
    values[0] = 1
    assert not np.asarray(nib.load(run(decoding, case_of(tmp_path, values)).paths[0]).dataobj).any()


def test_image_that_is_no_nifti_says_where(softmax, decoding, phantoms, tmp_path):
    folder, probabilities = softmax
    image = SimpleITK.ReadImage(str(phantoms / "images" / "oblique.nii.gz"))
    SimpleITK.WriteImage(image, str(tmp_path / "oblique.nrrd"))
    study = replace(find_probabilities(folder / "oblique.npz")[0], grid=tmp_path / "oblique.nrrd")
    by_hand = decoding.decoder(torch.from_numpy(probabilities["oblique"])).numpy()
    check_same_image(run(decoding, study).paths[0], as_sitk(by_hand, tmp_path / "oblique.nrrd"))


def test_decoder_and_regions_must_go_together(tmp_path):
    with pytest.raises(ValueError, match="channels that are regions need a decoder with mode 'multilabel'"):
        Decoding(RankSEGDecoder(), LabelMaps(tmp_path), REGIONS)
    with pytest.raises(ValueError, match="exclusive classes one with mode 'multiclass'"):
        Decoding(RankSEGDecoder(mode="multilabel"), LabelMaps(tmp_path))


def test_config_without_an_overlay(tmp_path):
    decoding = DecodeJob(load_config("decode", None), tmp_path).decoding()
    assert repr(decoding.decoder) == repr(RankSEGDecoder("dice"))
    assert (decoding.label_maps.cleanup, decoding.regions, decoding.num_channels) == (None, None, None)


def test_config_of_a_network(tmp_path):
    """Its cleanup and class names count here too."""
    decoding = DecodeJob(load_config("decode", "demo"), tmp_path).decoding()
    assert decoding.num_channels == 3
    assert isinstance(decoding.label_maps.cleanup, KeepLargestComponent)


def test_config_of_regions(tmp_path):
    settings = load_config("decode", None)
    settings["region_channels"] = [[1, 2], [2]]
    decoding = DecodeJob(settings, tmp_path).decoding()
    assert (decoding.regions, decoding.num_channels, decoding.decoder.mode) == (REGIONS, 2, "multilabel")
    settings["decoder"] = {"_target_": "rankseg_med.decode.ArgmaxDecoder"}
    assert isinstance(DecodeJob(settings, tmp_path).decoding().decoder, AtHalfDecoder)
    settings["decoder"] = {"_target_": "rankseg_med.decode.make_decoder", "name": "dice", "regions": [[1, 2], [2]]}
    with pytest.raises(ValueError, match="regions of a decoder are unions of exclusive classes"):
        DecodeJob(settings, tmp_path).decoding()


def test_nnunet_says_what_the_channels_are(softmax, sigmoid, tmp_path):
    settings = load_config("decode", None)
    exclusive = DecodeJob(settings, tmp_path, read_nnunet_labels(softmax[0])).decoding()
    assert (exclusive.num_channels, exclusive.regions) == (3, None)
    regions = DecodeJob(settings, tmp_path, read_nnunet_labels(sigmoid[0])).decoding()
    assert (regions.num_channels, regions.regions) == (2, RegionChannels(((1, 2), (2,)), ((0, 1), (1, 2))))


def test_job_is_resumed_and_notices_other_settings_and_files(softmax, tmp_path):
    studies = find_probabilities(softmax[0])
    job = DecodeJob(load_config("decode", None), tmp_path / "out")

    def statuses(job):
        return [outcome.status for outcome in run_job(job, studies)]

    assert statuses(job) == ["done"] * 4
    assert statuses(job) == ["skipped"] * 4
    settings = load_config("decode", None)
    settings["decoder::name"] = "iou"
    assert statuses(DecodeJob(settings, tmp_path / "out")) == ["stale"] * 4
    labels = read_nnunet_labels(softmax[0])
    assert statuses(DecodeJob(load_config("decode", None), tmp_path / "out", labels)) == ["stale"] * 4


def test_job_travels_to_other_processes(sigmoid, tmp_path):
    labels = read_nnunet_labels(sigmoid[0])
    sent = pickle.dumps(DecodeJob(load_config("decode", "demo"), tmp_path, labels))
    job = pickle.loads(sent)  # noqa: S301 - ours
    load, decode, write = job.build()
    study = find_probabilities(sigmoid[0])[0]
    assert write(decode(load(study))).paths == job.outputs_of(study)
    assert job.inputs_of(study) == (study.files[0], study.grid)


def test_memory_is_estimated_from_headers(softmax, sigmoid, tmp_path):
    job = DecodeJob(load_config("decode", None), tmp_path)
    voxels = 32 * 28 * 24
    for (folder, _), channels in ((softmax, 3), (sigmoid, 2)):
        needed = {job.memory_needed(study) for study in find_probabilities(folder)}
        assert needed == {2 * (2 * channels + 2) * voxels}
