import nibabel as nib
import numpy as np
import pytest
import yaml

from tests.conftest import REPOSITORY


@pytest.fixture
def folders(tmp_path):
    reference = np.zeros((12, 12, 12), np.uint8)
    reference[2:8, 2:8, 2:8] = 1
    reference[3:5, 3:5, 3:5] = 2
    prediction = reference.copy()
    prediction[10:12, 10:12, 10:12] = 1
    for folder, labels in (("predictions", prediction), ("references", reference)):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / folder / "case.nii.gz")
    return tmp_path / "predictions", tmp_path / "references"


def test_table_and_config(rankseg_med, folders, tmp_path):
    output = tmp_path / "cleaned.yaml"
    result = rankseg_med(
        *("cleanup-search", *folders, "--config", REPOSITORY / "configs" / "demo.yaml", "--output", output),
        *("--minimum-ml", 0.001, "--minimum-ml", 0.002),
    )
    assert result.code == 0
    # Organ: 208 voxels, 8 of them too many.
    for text in ("organ", "tumour", "mean", "0.9811 to 1.0000", "tumour of at least 0.002 ml", "1 cases"):
        assert text in result.out
    assert result.out.endswith(f"{output}: largest component of all foreground\n")
    assert yaml.safe_load(output.read_text())["cleanup"] == {
        "_target_": "Compose",
        "transforms": [{"_target_": "rankseg_med.transforms.KeepLargestComponent", "labels": [[1, 2]]}],
    }


def test_errors_are_one_line(rankseg_med, folders, tmp_path):
    result = rankseg_med("cleanup-search", *folders, "--config", "nowhere", "--output", tmp_path / "cleaned.yaml")
    assert (result.code, result.out) == (1, "")
    assert "error: nowhere: no such config file, nor a shipped config" in result.err
