"""The documentation's examples run."""

import importlib.util

import nibabel as nib
import numpy as np

from rankseg_med.demo import make_phantom, write_phantom
from tests.conftest import REPOSITORY


def test_compose(tmp_path):
    spec = importlib.util.spec_from_file_location("compose", REPOSITORY / "docs" / "examples" / "compose.py")
    compose = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compose)
    write_phantom(make_phantom(5, shape=(96, 96, 48)), tmp_path / "scan.nii.gz", tmp_path / "label.nii.gz")
    compose.main(tmp_path / "scan.nii.gz", tmp_path / "out")
    found, expected = nib.load(tmp_path / "out" / "scan_seg.nii.gz"), nib.load(tmp_path / "label.nii.gz")
    assert found.get_data_dtype() == np.uint8
    np.testing.assert_allclose(found.affine, expected.affine)
    ours, truth = (np.asarray(image.dataobj) > 0 for image in (found, expected))
    assert 2 * (ours & truth).sum() / (ours.sum() + truth.sum()) > 0.9
