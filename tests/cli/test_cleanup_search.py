import nibabel as nib
import numpy as np
import pytest
import yaml

from tests.voxels import voxels_of


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


def test_table_and_overlay(rankseg_med, folders, tmp_path):
    output = tmp_path / "cleaned.yaml"
    result = rankseg_med(
        *("cleanup-search", *folders, "--config", "demo", "--output", output),
        *("--minimum-ml", 0.001, "--minimum-ml", 0.002),
    )
    assert result.code == 0
    # Organ: 208 voxels, 8 of them too many.
    for text in ("organ", "tumour", "mean", "0.9811 to 1.0000", "tumour of at least 0.002 ml", "1 cases"):
        assert text in result.out
    assert result.out.endswith(f"{output}: largest component of all foreground\n")
    assert yaml.safe_load(output.read_text()) == {
        "cleanup": {
            "_target_": "Compose",
            "transforms": [{"_target_": "rankseg_med.transforms.KeepLargestComponent", "labels": [[1, 2]]}],
        }
    }


def test_errors_are_one_line(rankseg_med, folders, tmp_path):
    result = rankseg_med("cleanup-search", *folders, "--config", "nowhere", "--output", tmp_path / "cleaned.yaml")
    assert (result.code, result.out) == (1, "")
    assert "error: nowhere: no such config file, nor a shipped config" in result.err


def test_labels_are_named_on_the_command_line(rankseg_med, folders, tmp_path):
    output = tmp_path / "cleaned.yaml"
    few = ("--minimum-ml", 0.001, "-o", output)
    result = rankseg_med("cleanup-search", *folders, "--labels", "1=liver,2=lesion", *few)
    assert (result.code, "holes of lesion filled" in result.out) == (0, True)
    both = rankseg_med("cleanup-search", *folders, "--labels", "1=liver", "--config", "demo", *few)
    assert (both.code, "both name the classes" in " ".join(both.err.split())) == (2, True)


def test_a_least_gain_that_no_step_reaches(rankseg_med, folders, tmp_path):
    """Without cleanup, organ has a Dice of 0.9811, and the tumour is right: no step can gain a tenth."""
    output = tmp_path / "cleaned.yaml"
    result = rankseg_med("cleanup-search", *folders, "--least-gain", 0.1, "--minimum-ml", 0.001, "-o", output)
    assert (result.code, "no cleanup, since no step helped" in result.out) == (0, True)
    assert yaml.safe_load(output.read_text()) == {"cleanup": None}


def test_a_file_that_is_there_is_replaced_only_if_asked_for(rankseg_med, folders, tmp_path):
    output = tmp_path / "cleaned.yaml"
    output.write_text("mine: 1\n")
    arguments = ("cleanup-search", *folders, "--minimum-ml", 0.001, "-o", output)
    # Before any work: there is not even a folder of predictions.
    refused = rankseg_med("cleanup-search", tmp_path / "nowhere", folders[1], "-o", output)
    assert (refused.code, refused.out) == (1, "")
    assert f"error: {output}: is there already; give another file, or --overwrite to replace it" in refused.err
    assert output.read_text() == "mine: 1\n"
    assert rankseg_med(*arguments, "--overwrite").code == 0
    assert list(yaml.safe_load(output.read_text())) == ["cleanup"]


def test_the_config_is_never_replaced_by_its_cleanup(rankseg_med, folders, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: demo\n")
    result = rankseg_med("cleanup-search", *folders, "--config", mine, "-o", mine, "--overwrite")
    assert (result.code, mine.read_text()) == (2, "extends: demo\n")
    assert "is the config itself" in " ".join(result.err.replace("│", " ").split())


def test_the_overlay_beside_another_config_cleans_what_decode_writes(rankseg_med, folders, tmp_path):
    """Probabilities whose argmax is the prediction; decoded with the cleanup they are the reference."""
    prediction = voxels_of(folders[0] / "case.nii.gz")
    reference = voxels_of(folders[1] / "case.nii.gz")
    (tmp_path / "stored").mkdir()
    probabilities = np.where(prediction[..., None] == np.arange(3), 0.8, 0.1).astype(np.float32)
    nib.save(nib.Nifti1Image(probabilities, np.eye(4)), tmp_path / "stored" / "case.nii.gz")
    mine = tmp_path / "mine.yaml"
    mine.write_text("decoder: {_target_: rankseg_med.decode.make_decoder, name: argmax}\ncleanup: null\n")

    def decoded(folder, *configs):
        options = [option for config in configs for option in ("--config", config)]
        assert rankseg_med("decode", tmp_path / "stored", "-o", tmp_path / folder, *options).code == 0
        return voxels_of(tmp_path / folder / "case.nii.gz")

    np.testing.assert_array_equal(decoded("plain", mine), prediction)
    cleaned = tmp_path / "cleaned.yaml"
    assert rankseg_med("cleanup-search", tmp_path / "plain", folders[1], "-o", cleaned).code == 0
    np.testing.assert_array_equal(decoded("cleaned", mine, cleaned), reference)
    # The later one counts.
    np.testing.assert_array_equal(decoded("undone", cleaned, mine), prediction)
