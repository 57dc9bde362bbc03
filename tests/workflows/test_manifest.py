import gzip
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.data import load_decathlon_datalist

from rankseg_med.studies import LabelledEntry, Manifest, StudyError, find_studies
from rankseg_med.workflows.manifest import build_manifest, deal_folds


def write(path, voxels, spacing_mm=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.asarray(voxels, np.uint8), np.diag([spacing_mm, 1, 1, 1])).to_filename(path)


@pytest.fixture
def folders(tmp_path):
    """Images and label maps of cases a to f; label 1 in all, label 4 in case c."""
    for case in "fbdace":
        labels = np.zeros((3, 4, 5))
        labels[0] = 1
        labels[1] = 4 if case == "c" else 0
        write(tmp_path / "data" / "images" / f"{case}.nii.gz", labels * 100)
        write(tmp_path / "data" / "labels" / f"{case}.nii.gz", labels)
    return tmp_path / "data"


def build(folders, **options):
    options = {"output": folders / "list.json", "folds": 3, **options}
    return build_manifest(folders / "images", folders / "labels", **options)


def test_lists_the_pairs_with_relative_paths(folders):
    manifest = build(folders)
    assert manifest.name == "list"
    assert manifest.labels == {"0": "background", "1": "label_1", "4": "label_4"}
    assert [(entry.id, entry.image, entry.label) for entry in manifest.training] == [
        (case, f"images/{case}.nii.gz", f"labels/{case}.nii.gz") for case in "abcdef"
    ]
    assert Manifest.read(folders / "list.json") == manifest


def test_what_is_written_leads_back_to_the_files(folders):
    build(folders)
    studies = find_studies(folders / "list.json")
    assert {study.image.resolve() for study in studies} == set((folders / "images").iterdir())
    monai = load_decathlon_datalist(folders / "list.json")
    assert [entry["label"] for entry in monai] == [f"{folders}/labels/{case}.nii.gz" for case in "abcdef"]


def test_paths_lead_out_of_the_folder_of_the_list(folders, tmp_path):
    build(folders, output=tmp_path / "lists" / "new" / "list.json")
    assert Manifest.read(tmp_path / "lists/new/list.json").training[0].image == "../../data/images/a.nii.gz"
    assert len(find_studies(tmp_path / "lists/new/list.json")) == 6


def test_paths_from_a_working_folder(folders, monkeypatch):
    monkeypatch.chdir(folders)
    manifest = build_manifest(Path("images"), Path("labels"), Path("list.json"))
    assert manifest.training[0].image == "images/a.nii.gz"


def test_labels_of_a_list_are_its_label_maps(folders):
    plain = build(folders)
    lines = [f"{case},images/{case}.nii.gz,labels/{case}.nii.gz" for case in "abcdef"]
    (folders / "labels.csv").write_text("\n".join(["case_id,image,label", *lines]))
    manifest = build_manifest(folders / "images", folders / "labels.csv", folders / "list.json", folds=3)
    assert manifest == plain


def test_studies_of_several_images(folders):
    write(folders / "b2.nii.gz", np.zeros((3, 4, 5)), spacing_mm=2)
    lines = ["case_id,image,image2", "a,images/a.nii.gz,images/c.nii.gz", "b,images/b.nii.gz,b2.nii.gz"]
    (folders / "images.csv").write_text("\n".join(lines))
    for case in "cdef":
        (folders / "labels" / f"{case}.nii.gz").unlink()
    with pytest.raises(StudyError, match=r"b2\.nii\.gz"):
        build_manifest(folders / "images.csv", folders / "labels", folders / "list.json", folds=2)
    (folders / "images.csv").write_text("\n".join([*lines[:2], "b,images/b.nii.gz,images/d.nii.gz"]))
    build_manifest(folders / "images.csv", folders / "labels", folders / "list.json", folds=2)
    a, b = find_studies(folders / "list.json")
    assert [image.name for image in (*a.images, *b.images)] == [f"{case}.nii.gz" for case in "acbd"]


def test_channels_are_named_as_nnunet_does(folders):
    for case in "abcdef":
        (folders / "images" / f"{case}.nii.gz").rename(folders / "images" / f"{case}_0000.nii.gz")
    with pytest.raises(StudyError, match=r"a_0000\.nii\.gz: has no label map in .*, but a has; say how many channels"):
        build(folders)
    manifest = build(folders, channels=1)
    assert [(entry.id, entry.image) for entry in manifest.training] == [
        (case, f"images/{case}_0000.nii.gz") for case in "abcdef"
    ]
    with pytest.raises(StudyError, match="must have 2 channels, but lacks a_0001"):
        build(folders, channels=2)


def test_ids_are_those_of_the_pairs(folders):
    """Of one name in many folders, as KiTS stores it, the folder's."""
    for case in "ab":
        for name in ("imaging", "segmentation"):
            write(folders / "kits" / case / f"{name}.nii.gz", np.eye(3)[None])
    pattern = folders / "kits" / "*"
    manifest = build_manifest(pattern / "imaging.nii.gz", pattern / "segmentation.nii.gz", folders / "l.json", folds=2)
    assert [(entry.id, entry.label) for entry in manifest.training] == [
        (case, f"kits/{case}/segmentation.nii.gz") for case in "ab"
    ]
    assert {entry.fold for entry in manifest.training} == {0, 1}


def test_data_root_and_name(folders, tmp_path):
    manifest = build(folders, output=tmp_path / "list.json", data_root=folders / "images", name="Livers")
    assert manifest.name == "Livers"
    assert manifest.training[0] == LabelledEntry(
        id="a", image="a.nii.gz", label="../labels/a.nii.gz", fold=manifest.training[0].fold
    )


def test_paths_hold_when_a_folder_is_reached_by_a_link(folders, tmp_path):
    (tmp_path / "real" / "lists").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "lists")
    build(folders, output=tmp_path / "link" / "list.json")
    assert len(find_studies(tmp_path / "link" / "list.json")) == 6

    (tmp_path / "data_link").symlink_to(folders / "images")
    detour = tmp_path / "data_link" / ".."
    build_manifest(detour / "images", detour / "labels", tmp_path / "list.json")
    assert len(find_studies(tmp_path / "list.json")) == 6


def test_links_are_listed_by_their_own_name(folders):
    (folders / "images" / "a.nii.gz").rename(folders / "blob")
    (folders / "images" / "a.nii.gz").symlink_to(folders / "blob")
    assert build(folders).training[0].image == "images/a.nii.gz"


class TestLabelNames:
    def test_given_names_are_kept_and_background_is_added(self, folders):
        manifest = build(folders, label_names={4: "tumour", 1: "liver", 9: "never seen"})
        assert list(manifest.labels.items()) == [
            ("0", "background"),
            ("1", "liver"),
            ("4", "tumour"),
            ("9", "never seen"),
        ]

    def test_background_may_be_named(self, folders):
        assert build(folders, label_names={0: "air", 1: "liver", 4: "tumour"}).labels["0"] == "air"

    def test_a_value_without_a_name_is_an_error(self, folders):
        with pytest.raises(StudyError, match=r"labels/c\.nii\.gz: holds values without a name: 4$"):
            build(folders, label_names={1: "liver"})
        assert not (folders / "list.json").exists()


def test_one_error_names_every_bad_pair(folders):
    (folders / "labels" / "a.nii.gz").unlink()
    (folders / "images" / "b.nii.gz").unlink()
    write(folders / "labels" / "c.nii.gz", np.zeros((3, 4, 6)))
    write(folders / "labels" / "d.nii.gz", np.zeros((3, 4, 5)), spacing_mm=2)
    (folders / "images" / "e.nii.gz").write_bytes(b"not an image")
    label_map = folders / "labels" / "f.nii.gz"
    label_map.write_bytes(gzip.compress(gzip.decompress(label_map.read_bytes())[:-20]))
    with pytest.raises(StudyError) as error:
        build(folders)
    lines = str(error.value).splitlines()
    expected = ["labels: 6", "images/a.nii.gz: has no label map", "labels/b.nii.gz: has no image"]
    assert all(text in line for text, line in zip(expected, lines[:3], strict=True))
    for line, file, reason in zip(
        lines[3:],
        ["labels/c.nii.gz", "labels/d.nii.gz", "images/e.nii.gz", "labels/f.nii.gz"],
        [
            "shape (3, 4, 5) and (3, 4, 6)",
            "spacing (1, 1, 1) and (2, 1, 1) mm",
            "read as NIfTI",
            "Expected 60",
        ],
        strict=True,
    ):
        assert file in line
        assert reason in line
    assert not (folders / "list.json").exists()


def test_a_fractional_label_map_is_named(folders):
    nib.Nifti1Image(np.full((3, 4, 5), 0.5, np.float32), np.eye(4)).to_filename(folders / "labels" / "b.nii.gz")
    with pytest.raises(StudyError, match=r": 1\n- .*labels/b\.nii\.gz.*whole numbers"):
        build(folders)


def test_one_folder_for_both_is_named(folders):
    with pytest.raises(StudyError, match=r"a\.nii\.gz: is both image and label map of a; name two folders"):
        build_manifest(folders / "images", folders / "images", folders / "list.json", folds=3)


def test_a_list_is_json(folders):
    with pytest.raises(ValueError, match=r"list\.csv: a data list's name must end with \.json"):
        build(folders, output=folders / "list.csv")
    assert not (folders / "list.csv").exists()


@pytest.mark.parametrize("missing", ["images", "labels"])
def test_a_missing_folder_is_named(folders, missing):
    (folders / missing).rename(folders / "gone")
    with pytest.raises(StudyError, match=missing):
        build(folders)


@pytest.mark.parametrize("folds", [-1, 0, 1, 7])
def test_impossible_folds(folders, folds):
    with pytest.raises(ValueError, match=rf"number of cases, 6, got {folds}"):
        build(folders, folds=folds)
    assert not (folders / "list.json").exists()


class TestFolds:
    cases = st.sets(st.text(min_size=1, max_size=4), min_size=2, max_size=40).map(list)

    @given(cases=cases, data=st.data(), seed=st.integers(0, 2**32))
    def test_every_case_isdeal_foldst_once_and_sizes_differ_by_at_most_one(self, cases, data, seed):
        folds = data.draw(st.integers(2, len(cases)))
        dealt = deal_folds(cases, folds, seed)
        assert set(dealt) == set(cases)
        sizes = Counter(dealt.values())
        assert set(sizes) == set(range(folds))
        assert max(sizes.values()) - min(sizes.values()) <= 1

    @given(cases=cases, data=st.data(), seed=st.integers(0, 2**32))
    def test_listing_order_does_not_matter(self, cases, data, seed):
        assert deal_folds(cases, 2, seed) == deal_folds(data.draw(st.permutations(cases)), 2, seed)

    def test_the_seed_matters(self):
        cases = [f"case_{number}" for number in range(30)]
        assert len({tuple(deal_folds(cases, 5, seed)[case] for case in cases) for seed in range(10)}) == 10

    def test_folds_of_the_list_are_those(self, folders):
        assert {entry.id: entry.fold for entry in build(folders, seed=3).training} == deal_folds(list("abcdef"), 3, 3)
        assert build(folders, seed=3) == build(folders, seed=3)


@pytest.mark.real_data
def test_real_data_set(shared_data, tmp_path):
    data = shared_data / "hippocampus"
    manifest = build_manifest(data / "images", data / "labels", tmp_path / "hippocampus.json", data_root=data)
    assert manifest.labels == {"0": "background", "1": "label_1", "2": "label_2"}
    assert Counter(entry.fold for entry in manifest.training) == dict.fromkeys(range(5), 40)
    assert len(find_studies(tmp_path / "hippocampus.json", data_root=data, fold=4)) == 40
