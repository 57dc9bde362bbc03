"""Patches by hand, and the experiment from files to tables on random volumes."""

import sys

import nibabel as nib
import numpy as np
import pretraining as pipeline
import pytest
from experiment_data import DATA_SETS, ExperimentData
from experiment_tables import SCORED
from pretraining_patches import PATCHES, Patches, boxes_of, cut_patches

from rankseg_med.configuration import load_config
from rankseg_med.pretraining import read_image_classes
from rankseg_med.studies import Study
from tests.pipelines.made_data import make_images


def bounds(box):
    return [(side.start, side.stop) for side in box]


def test_boxes_by_hand():
    """A nodule in columns 4 and 5 of 10; a box of 4 around it begins at 3, and the first corner is free."""
    label_map = np.zeros((10, 10, 3), np.uint8)
    label_map[4:6, 4:6] = 1
    patches = Patches((0.4, 0.4, 1.0), background=True)
    found = [(label, bounds(box)) for label, box in boxes_of(label_map, patches)]
    assert found == [(1, [(3, 7), (3, 7), (0, 3)]), (0, [(0, 4), (0, 4), (0, 3)])]
    label_map[2, 2] = 1  # now that corner is not, and the centre is nearer to it
    assert [bounds(box) for label, box in boxes_of(label_map, patches) if label == 0] == [[(0, 4), (6, 10), (0, 3)]]
    assert [label for label, _ in boxes_of(np.ones_like(label_map), patches)] == [1]


def test_a_box_stays_within_the_image():
    label_map = np.zeros((4, 12, 4), np.uint8)
    label_map[:, 0], label_map[:, 11] = 1, 2
    found = [(label, bounds(box)[1]) for label, box in boxes_of(label_map, PATCHES["hippocampus"])]
    assert found == [(1, (0, 6)), (2, (6, 12))]


def test_patches_on_disk(tmp_path):
    image = np.random.default_rng(0).normal(size=(4, 12, 4)).astype(np.float32)
    labels = np.zeros((4, 12, 4), np.uint8)
    labels[:, 8] = 1
    study = Study("a", tmp_path / "a.nii.gz", tmp_path / "a_label.nii.gz")
    for path, voxels in {study.image: image, study.label: labels}.items():
        nib.save(nib.Nifti1Image(voxels, np.diag([1, 2, 1, 1])), path)
    cut_patches([study], PATCHES["hippocampus"], ["background", "anterior"], tmp_path / "patches")
    assert read_image_classes(tmp_path / "patches" / "classes.csv") == {"a_anterior": "anterior"}
    patch = nib.load(tmp_path / "patches" / "images" / "a_anterior.nii.gz")
    # Six rows around row 8: from round(8 - 2.5), which is the even one of 5 and 6.
    np.testing.assert_array_equal(patch.get_fdata(dtype=np.float32), image[:, 6:12])
    assert patch.affine[1, 3] == 12


@pytest.mark.slow
def test_from_files_to_tables_and_on_again(tmp_path, monkeypatch, capsys):
    make_images(tmp_path, [f"case_{number}" for number in range(10)])
    monkeypatch.setitem(DATA_SETS, "hippocampus", ExperimentData("hippocampus", "always", 2, 2, 5, 1))
    monkeypatch.setattr(pipeline, "load_config", quick_config)

    def run(*options):
        lengths = ["--iterations", 2, "--classifier-iterations", 1, "--pretraining-iterations", 1]
        arguments = ["hippocampus", tmp_path, tmp_path / "work", *lengths, "--seeds", 3, "--jobs", 1, *options]
        monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, arguments)])
        pipeline.main()
        return capsys.readouterr().out

    tables = run()
    for arm in ("labels\\_alone", "pretrained", "all\\_labels"):
        assert f"| {arm} | tuned | 1 |" in tables
    assert "Change of Dice against labels\\_alone" in tables
    made = {path: path.stat().st_mtime_ns for pattern in ("*.pt", "*.nii.gz") for path in tmp_path.rglob(pattern)}
    for scored in tmp_path.rglob(SCORED):
        scored.unlink()  # as if the run had been stopped before its end
    run()
    assert {path: path.stat().st_mtime_ns for path in made} == made
    with pytest.raises(SystemExit, match="runs of another experiment are here"):
        run("--labelled", 2)


def quick_config(job, name, *, device):
    changes = {"explainer::samples": 1, "roi_size": [16, 24, 16]} if name.startswith("classify") else {}
    return load_config(job, name, device=device, changes=changes)
