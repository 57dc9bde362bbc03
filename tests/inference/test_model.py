import itertools
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, CropForegroundd, Invertd, Lambdad, Orientationd, Spacingd

from rankseg_med.decode import ArgmaxDecoder, RankSEGDecoder, decode_ensemble
from rankseg_med.inference import InferenceError, SegmentationModel, StreamingInferer
from rankseg_med.inference.slab import roomy_device
from rankseg_med.transforms import LoadStudyd

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.1, 0.15) @ np.diag([-1.2, 1.5, 2.5]), [40.0, -30.0, 12.0]
)


class IntensityNetwork(torch.nn.Module):
    """Logits that are a function of each voxel's intensity, so that anatomy follows intensity whatever the grid."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x), 4 * (x - 0.5), 4 * (x - 1.2)], 1)


class ConstantOutput(torch.nn.Module):
    def __init__(self, output) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor):
        return self.output(x)


def smooth_image(shape=(18, 16, 12), affine=OBLIQUE) -> nib.Nifti1Image:
    rng = np.random.default_rng(4)
    coarse = torch.from_numpy(rng.normal(size=(1, 1, 5, 5, 4)).astype(np.float32))
    values = torch.nn.functional.interpolate(coarse, shape, mode="trilinear", align_corners=True)[0, 0]
    return nib.Nifti1Image(values.numpy() + 0.5, affine)


def model_with(*transforms, network=None, num_classes=3, roi_size=(8, 9, 10), **options) -> SegmentationModel:
    preprocessing = Compose([LoadStudyd("image"), *transforms])
    settings = {"decoder": RankSEGDecoder(), "networks": [network or IntensityNetwork()]} | options
    inferer = StreamingInferer(roi_size, overlap=0.5, axis=1)
    return SegmentationModel(preprocessing, inferer=inferer, num_classes=num_classes, **settings)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.nii.gz"
    nib.save(smooth_image(), path)
    return path


def test_no_resampling_is_softmax_of_the_network(image):
    probabilities = model_with().probabilities(image)
    voxels = torch.from_numpy(nib.load(image).get_fdata(dtype=np.float32))[None, None]
    torch.testing.assert_close(probabilities, IntensityNetwork()(voxels)[0].softmax(0), atol=1e-6, rtol=0)


def test_native_grid_agrees_with_monais_inverse(image):
    """MONAI's Invertd on all channels of the softmax is the truth."""
    transforms = (Orientationd("image", "RAS", labels=None), Spacingd("image", (2, 2, 2), padding_mode="border"))
    ours = model_with(*transforms).probabilities(image)
    preprocessing = Compose([LoadStudyd("image"), *transforms])
    data = preprocessing({"image": image})
    data["p"] = MetaTensor(IntensityNetwork()(data["image"].as_tensor()[None])[0].softmax(0))
    theirs = Invertd("p", preprocessing, orig_keys="image", nearest_interp=False)(data)["p"].as_tensor()
    assert ours.shape == (3, 18, 16, 12)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.sum(0), torch.ones(18, 16, 12), atol=1e-6, rtol=0)


def test_cropped_away_voxels_are_background(tmp_path):
    voxels = np.zeros((10, 9, 8), np.float32)
    voxels[3:7, 2:6, 1:5] = 1
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / "image.nii.gz")
    probabilities = model_with(CropForegroundd("image", source_key="image")).probabilities(tmp_path / "image.nii.gz")
    assert (probabilities[0].numpy()[voxels == 0] == 1).all()
    inside = probabilities[:, 3:7, 2:6, 1:5]
    torch.testing.assert_close(inside, IntensityNetwork()(torch.ones(1, 1, 4, 4, 4))[0].softmax(0))


@pytest.mark.parametrize(
    "codes", ["".join(c) for p in itertools.permutations(("LR", "PA", "IS")) for c in itertools.product(*p)]
)
def test_anatomy_is_the_same_in_all_48_orientations(tmp_path, codes):
    canonical = nib.as_closest_canonical(smooth_image())
    nib.save(canonical, tmp_path / "canonical.nii.gz")
    to_codes = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(canonical.affine), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(canonical.as_reoriented(to_codes), tmp_path / "stored.nii.gz")
    transforms = (Orientationd("image", "RAS", labels=None), Spacingd("image", (2, 2, 2), padding_mode="border"))
    expected = model_with(*transforms).probabilities(tmp_path / "canonical.nii.gz")
    found = model_with(*transforms).probabilities(tmp_path / "stored.nii.gz")
    stored = nib.load(tmp_path / "stored.nii.gz")
    assert found.shape[1:] == stored.shape
    for ours, theirs in zip(found, expected, strict=True):
        back = nib.as_closest_canonical(nib.Nifti1Image(ours.numpy(), stored.affine))
        np.testing.assert_allclose(back.get_fdata(), theirs.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            ConstantOutput(lambda x: torch.cat([x, x], 1)),
            r"must return logits \(batch, 3, 8, 9, 10\) for num_classes=3",
        ),
        (ConstantOutput(lambda x: x.expand(-1, 3, -1, -1, -1) * torch.nan), r"NaN or infinite logits in window \[0:8,"),
        (torch.nn.Conv3d(2, 3, 1), "takes 2 input channels, the study gives 1"),
    ],
)
def test_what_a_network_does_wrong_is_named(image, network, message):
    with pytest.raises(InferenceError, match=message):
        model_with(network=network)(image)


def test_preprocessing_that_cannot_be_undone_is_an_error(image):
    with pytest.raises(InferenceError, match=r"\(18, 16, 12\)"):
        model_with(Lambdad("image", lambda x: x[:, ::2]))(image)


RESAMPLED = (Orientationd("image", "RAS", labels=None), Spacingd("image", (2, 2, 2), padding_mode="border"))


@pytest.mark.parametrize(
    "decoder", [RankSEGDecoder("dice"), RankSEGDecoder("iou", "rma", "greedy", coherence=0), ArgmaxDecoder()]
)
@pytest.mark.parametrize("store", ["memory", "disk"])
def test_the_label_map_is_that_of_the_whole_volumes_probabilities(image, decoder, store, tmp_path):
    """A session's levels are off by half a step of 65,535: a voxel at the edge may differ."""
    model = model_with(*RESAMPLED, decoder=decoder, store=store, store_folder=tmp_path)
    decoded = model(image)
    expected = decoder.decode(model.probabilities(image))
    assert decoded.label_map.shape == (18, 16, 12)
    assert (decoded.label_map != expected.label_map).float().mean() < 1e-3
    for ours, theirs in zip(decoded.decisions, expected.decisions, strict=True):
        assert ours.expected_score == pytest.approx(theirs.expected_score, abs=1e-4)
    assert not list(tmp_path.glob("*.levels"))


def test_the_model_grid_decodes_before_the_labels_are_carried_back(image):
    """MONAI's nearest-neighbour inverse of the label map on the model's grid is the truth."""
    model = model_with(*RESAMPLED, grid="model")
    preprocessing = Compose([LoadStudyd("image"), *RESAMPLED])
    data = preprocessing({"image": image})
    on_model_grid = RankSEGDecoder().decode(IntensityNetwork()(data["image"].as_tensor()[None])[0].softmax(0)).label_map
    data["label"] = MetaTensor(on_model_grid[None].float())
    theirs = Invertd("label", preprocessing, orig_keys="image", nearest_interp=True)(data)["label"][0]
    found = model(image).label_map
    assert found.shape == (18, 16, 12)
    # A point half-way between two voxels may go to either.
    assert (found != theirs.as_tensor()).float().mean() < 0.02
    assert found.unique().tolist() == theirs.unique().tolist() != [0]


class ShiftedNetwork(torch.nn.Module):
    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return IntensityNetwork()(x + self.shift)


MEMBERS = [ShiftedNetwork(shift) for shift in (-0.4, 0.0, 0.5)]


def test_an_ensemble_is_the_mean_of_its_networks_probabilities(image):
    each = [model_with(*RESAMPLED, network=member).probabilities(image) for member in MEMBERS]
    together = model_with(*RESAMPLED, networks=MEMBERS)
    torch.testing.assert_close(together.probabilities(image), torch.stack(each).mean(0), atol=1e-6, rtol=0)
    expected = RankSEGDecoder().decode(torch.stack(each).mean(0)).label_map
    assert (together(image).label_map != expected).float().mean() < 1e-3


def test_an_ensemble_decoded_as_such(image):
    each = [model_with(*RESAMPLED, network=member).probabilities(image) for member in MEMBERS]
    expected = decode_ensemble(each, RankSEGDecoder())
    found = model_with(*RESAMPLED, networks=MEMBERS, ensemble="decode")(image)
    assert (found.label_map != expected.label_map).float().mean() < 1e-3
    for ours, theirs in zip(found.decisions, expected.decisions, strict=True):
        assert ours.expected_score == pytest.approx(theirs.expected_score, abs=1e-4)


def test_a_two_dimensional_network_decodes_the_whole_volume(image):
    """The threshold is the volume's, not each slice's."""
    slice_network = ConstantOutput(lambda x: torch.cat([torch.zeros_like(x), 4 * (x - 0.5), 4 * (x - 1.2)], 1))
    model = model_with(*RESAMPLED, network=slice_network, roi_size=(9, 10))
    expected = model_with(*RESAMPLED).probabilities(image)
    torch.testing.assert_close(model.probabilities(image), expected, atol=1e-6, rtol=0)
    assert torch.equal(model(image).label_map, model_with(*RESAMPLED)(image).label_map)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": []}, "at least one network"),
        ({"ensemble": "decode", "decoder": ArgmaxDecoder()}, "needs a decoder for dice or iou, got argmax"),
        ({"decoder": RankSEGDecoder(mode="multilabel")}, "needs exclusive classes"),
    ],
)
def test_settings_that_do_not_go_together(options, message):
    with pytest.raises(ValueError, match=message):
        model_with(**options)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["*.nii.gz"])
def test_a_real_ct_in_every_stored_orientation(shared_data, name, tmp_path):
    files = sorted((shared_data / "ct").glob(name))
    assert files
    transforms = (Orientationd("image", "RAS", labels=None), Spacingd("image", (3, 3, 4), padding_mode="border"))
    for file in files:
        small = tmp_path / file.name
        stored = nib.load(file)
        nib.save(stored.slicer[tuple(slice(0, 60) for _ in range(3))], small)
        network = ConstantOutput(lambda x: torch.cat([torch.zeros_like(x), (x - 100) / 50, (x - 400) / 100], 1))
        model = model_with(*transforms, network=network, roi_size=(16, 16, 16))
        probabilities = model.probabilities(small)
        preprocessing = Compose([LoadStudyd("image"), *transforms])
        data = preprocessing({"image": small})
        data["p"] = MetaTensor(network(data["image"].as_tensor()[None])[0].softmax(0))
        theirs = Invertd("p", preprocessing, orig_keys="image", nearest_interp=False)(data)["p"].as_tensor()
        torch.testing.assert_close(probabilities, theirs, atol=1e-4, rtol=0)
        labels, expected = model(small).label_map, RankSEGDecoder()(theirs.clamp(0, 1))
        assert (labels == expected).float().mean() >= 0.9999


def test_probabilities_stay_on_their_device_while_they_take_half_of_what_is_free(monkeypatch):
    cuda = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000) if device == cuda else (0, 0))
    assert roomy_device(cuda, 250) == cuda
    assert roomy_device(cuda, 251) == torch.device("cpu")
    assert roomy_device(torch.device("cpu"), 1 << 60) == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_label_map_of_a_network_on_a_gpu_is_the_one_on_the_cpu(tmp_path):
    nib.save(smooth_image(), tmp_path / "image.nii.gz")
    model = model_with(Orientationd("image", "RAS", labels=None))
    on_gpu = replace(
        model, networks=[model.networks[0].cuda()], inferer=StreamingInferer((8, 9, 10), axis=1, sw_device="cuda")
    )
    decoded = on_gpu(tmp_path / "image.nii.gz")
    assert decoded.label_map.is_cuda
    agree = (
        decoded.label_map.cpu()
        == replace(model, inferer=StreamingInferer((8, 9, 10), axis=1))(tmp_path / "image.nii.gz").label_map
    )
    assert agree.double().mean() > 0.999
