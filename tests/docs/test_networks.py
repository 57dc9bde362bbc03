"""The guides to networks of other people run as they stand there, on tiny ones."""

from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks.nets import UNet

from rankseg_med.demo import make_phantom, write_phantom
from tests import zoo
from tests.conftest import REPOSITORY
from tests.docs import given
from tests.docs.blocks import blocks_of
from tests.docs.sessions import write_file
from tests.nnunet.given import dataset_of, plans_of, write_image, write_model
from tests.voxels import voxels_of

HERE = Path()
MODEL = HERE / "nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.mark.session("networks.md", "A session")
def test_networks(run):
    run()
    image = nib.load("scans/a.nii.gz")
    for folder in ("dice", "argmax"):
        assert voxels_of(f"{folder}/a.nii.gz").shape == image.shape
        assert set(np.unique(voxels_of(f"{folder}/a.nii.gz")).tolist()) <= {0, 1, 2}


@pytest.mark.session("networks.md", "Networks of your own")
def test_networks_as_a_file(run):
    given.write_studies(HERE / "scans", HERE / "unknown", "a")
    for block in blocks_of("networks.md"):
        if block.language == "yaml":
            write_file(block)
    network = UNet(3, in_channels=1, out_channels=3, channels=(8, 16), strides=(2,), norm="INSTANCE").eval()
    torch.jit.trace(network, torch.zeros(1, 1, 32, 32, 32)).save("model.pt")
    run()
    assert voxels_of("labels/a.nii.gz").shape == nib.load("scans/a.nii.gz").shape


@pytest.mark.session("nnunet.md")
def test_nnunet(run):
    pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (extra nnunet)")
    write_image(HERE / "imagesTs" / "case_0000.nii.gz", shape=(20, 18, 12))
    write_model(MODEL, plans_of(), dataset_of())
    write_model(HERE / "organs", plans_of(), dataset_of())
    write_model(HERE / "vessels", plans_of(), dataset_of({"background": 0, "vessel": 1}), seed=3)
    said = run()
    np.testing.assert_array_equal(said["decoded"].label_map.numpy(), voxels_of("labels/case.nii.gz"))
    assert {0} < set(np.unique(voxels_of("merged/case.nii.gz")).tolist()) <= {0, 1, 3, 7}


@pytest.mark.session("bundles.md", "A bundle of somebody else's")
def test_a_bundle_of_somebody_elses(run):
    zoo.spleen(HERE / "spleen_ct_segmentation")
    zoo.write_images(HERE / "images", (20, 18, 10), (2.0, 2.0, 3.0))
    run()
    for folder in ("predicted", "by_argmax"):
        assert voxels_of(f"{folder}/a.nii.gz").shape == (20, 18, 10)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("fire") is None, reason="needs fire: pip install 'rankseg_med[bundle]'")
@pytest.mark.session("bundles.md", "This repository as a bundle")
def test_this_repository_as_a_bundle(run):
    for seed, name in enumerate("abc"):
        phantom = make_phantom(seed, shape=(32, 32, 24), spacing_mm=(9.0, 9.0, 10.0))
        write_phantom(phantom, f"images/{name}.nii.gz", f"labels/{name}.nii.gz")
    for folder in ("configs", "models"):
        (HERE / folder).symlink_to(REPOSITORY / folder)
    run()
    for path in ("predicted/a.nii.gz", "scored/metrics.csv", "trained/last.pt"):
        assert Path(path).is_file()
