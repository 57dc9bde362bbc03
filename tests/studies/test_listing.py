import json
import os
from pathlib import Path

import numpy as np
import pytest

from rankseg_med.studies import Fault, Study, StudyError, find_predictions, find_references, find_studies, list_studies
from tests.studies.dicom_files import write_series


@pytest.fixture
def touch(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


@pytest.fixture
def data_list(touch):
    folder = touch(*(f"data/{kind}/{case}.nii.gz" for case in "abc" for kind in ("images", "labels")), "data/t.nii")
    document = {
        "name": "x",
        "labels": {"0": "background"},
        "training": [
            {"id": f"case_{case}", "image": f"images/{case}.nii.gz", "label": f"labels/{case}.nii.gz", "fold": fold}
            for case, fold in [("b", 2), ("a", 0), ("c", 2)]
        ],
        "test": ["t.nii"],
    }
    (folder / "data" / "list.json").write_text(json.dumps(document))
    return folder / "data" / "list.json"


class TestFile:
    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img", "a.hdr"])
    def test_is_one_study(self, touch, name):
        path = touch(name) / name
        assert find_studies(path) == [Study("a", path)]

    @pytest.mark.parametrize("name", ["gone.nii.gz", "gone", "notes.txt"])
    def test_must_be_an_existing_nifti_file(self, touch, name):
        with pytest.raises(StudyError, match=name):
            find_studies(touch("notes.txt") / name)

    def test_without_a_name_has_no_case_id(self, touch):
        with pytest.raises(StudyError, match=r"\.nii\.gz.*case id"):
            find_studies(touch(".nii.gz") / ".nii.gz")

    @pytest.mark.parametrize("options", [{"fold": 0}, {"data_root": Path()}])
    def test_has_neither_folds_nor_a_data_root(self, touch, options):
        with pytest.raises(StudyError, match="data list"):
            find_studies(touch("a.nii") / "a.nii", **options)


class TestFolder:
    def test_takes_nifti_files_sorted_by_case_id(self, touch):
        folder = touch(
            "b.nii.gz", "a-1.nii", "a.nii.gz", "C.NII.GZ", ".hidden.nii", "notes.txt", "list.json", "deeper/d.nii.gz"
        )
        (folder / "folder.nii").mkdir()
        assert find_studies(folder) == [
            Study("C", folder / "C.NII.GZ"),
            Study("a", folder / "a.nii.gz"),
            Study("a-1", folder / "a-1.nii"),
            Study("b", folder / "b.nii.gz"),
        ]

    def test_a_pair_is_one_study(self, touch):
        folder = touch("a.img", "a.hdr", "b.hdr")
        assert find_studies(folder) == [Study("a", folder / "a.img"), Study("b", folder / "b.hdr")]

    def test_a_broken_link_does_not_vanish(self, touch):
        folder = touch("a.nii")
        (folder / "b.nii").symlink_to(folder / "nowhere")
        assert [study.case_id for study in find_studies(folder)] == ["a", "b"]

    def test_names_every_file_of_a_repeated_case_id(self, touch):
        folder = touch("a.nii", "a.nii.gz", "b.nii", "c.img", "c.hdr", "c.nii.gz")
        with pytest.raises(StudyError, match=r": a\.nii, a\.nii\.gz\n.*: c\.img, c\.nii\.gz$"):
            find_studies(folder)

    def test_must_hold_a_study(self, touch):
        with pytest.raises(StudyError, match="holds no images"):
            find_studies(touch("notes.txt", "deeper/a.nii"))

    def test_takes_every_kind_of_image(self, touch):
        folder = touch("a.nrrd", "b.mha", "c.mhd", "c.raw", "d.NRRD")
        assert [study.image.name for study in find_studies(folder)] == ["a.nrrd", "b.mha", "c.mhd", "d.NRRD"]

    def test_one_id_in_two_formats_is_named(self, touch):
        with pytest.raises(StudyError, match=r": a\.mha, a\.nii\.gz$"):
            find_studies(touch("a.mha", "a.nii.gz"))

    def test_has_no_folds(self, touch):
        with pytest.raises(StudyError, match="data list"):
            find_studies(touch("a.nii"), fold=0)


class TestDataList:
    def test_takes_training_and_test_in_order(self, data_list):
        root = data_list.parent
        assert find_studies(data_list) == [
            Study("case_b", root / "images/b.nii.gz", root / "labels/b.nii.gz", 2),
            Study("case_a", root / "images/a.nii.gz", root / "labels/a.nii.gz", 0),
            Study("case_c", root / "images/c.nii.gz", root / "labels/c.nii.gz", 2),
            Study("t", root / "t.nii"),
        ]

    def test_takes_one_fold(self, data_list):
        assert [study.case_id for study in find_studies(data_list, fold=2)] == ["case_b", "case_c"]
        assert [study.case_id for study in find_studies(data_list, fold=0)] == ["case_a"]

    def test_names_the_folds_there_are(self, data_list):
        with pytest.raises(StudyError, match=r"list\.json.*fold 1.*\[0, 2\]"):
            find_studies(data_list, fold=1)

    def test_data_root(self, data_list, tmp_path):
        moved = data_list.rename(tmp_path / "moved.json")
        assert find_studies(moved, data_root=tmp_path / "data", fold=0)[0].image == tmp_path / "data/images/a.nii.gz"

    def test_one_missing_file_is_left_to_fail_by_itself(self, data_list):
        (data_list.parent / "images/b.nii.gz").unlink()
        assert len(find_studies(data_list)) == 4

    def test_a_wrong_data_root_is_named(self, data_list, tmp_path):
        with pytest.raises(
            StudyError, match=r"none of the 4 listed images is there.*images/b\.nii\.gz; give the data root"
        ):
            find_studies(data_list, data_root=tmp_path / "elsewhere")

    def test_without_studies(self, tmp_path):
        (tmp_path / "list.json").write_text('{"name": "x", "labels": {"0": "background"}, "training": []}')
        with pytest.raises(StudyError, match=r"list\.json.*no studies"):
            find_studies(tmp_path / "list.json")

    def test_missing(self, tmp_path):
        with pytest.raises(StudyError, match=r"gone\.json"):
            find_studies(tmp_path / "gone.json")


class TestDicom:
    @pytest.fixture
    def series(self, tmp_path):
        voxels = np.zeros((3, 4, 2), np.int16)
        return [write_series(tmp_path / "data" / name, voxels) for name in ("case_b", "case_a.1")]

    def test_a_folder_of_slices_is_one_study(self, series):
        assert find_studies(series[0]) == [Study("case_b", series[0])]

    def test_a_folder_of_such_folders_is_a_study_each(self, series):
        (series[0].parent / "notes").mkdir()
        assert find_studies(series[0].parent) == [Study("case_a.1", series[1]), Study("case_b", series[0])]

    def test_the_working_folder_has_its_name(self, series, monkeypatch):
        monkeypatch.chdir(series[0])
        assert find_studies(Path()) == [Study("case_b", Path())]

    def test_images_come_before_folders(self, series):
        nifti = series[0].parent / "x.nii"
        nifti.touch()
        assert find_studies(series[0].parent) == [Study("x", nifti)]

    def test_of_a_data_list(self, series):
        (series[0].parent / "list.csv").write_text("case_id,image\nx,case_b\n")
        assert find_studies(series[0].parent / "list.csv") == [Study("x", series[0])]


class TestPattern:
    def test_names_by_file(self, touch):
        folder = touch("x/a.nii.gz", "y/deep/b.mha", "z/notes.txt", "c.nii")
        assert find_studies(folder / "**" / "*") == [
            Study("a", folder / "x/a.nii.gz"),
            Study("b", folder / "y/deep/b.mha"),
            Study("c", folder / "c.nii"),
        ]

    def test_names_by_folder_where_file_names_repeat(self, touch):
        folder = touch("case_2/imaging.nii.gz", "case_1/imaging.nii.gz", "case_1/segmentation.nii.gz")
        studies = find_studies(folder / "case_*" / "imaging.nii.gz")
        assert [(study.case_id, study.image.parent.name) for study in studies] == [("case_1",) * 2, ("case_2",) * 2]

    def test_repeated_ids_are_named(self, touch):
        folder = touch("x/case/a.nii", "y/case/a.nii")
        with pytest.raises(StudyError, match=r"x/case/a\.nii, .*y/case/a\.nii"):
            find_studies(folder / "*" / "case" / "a.nii")

    def test_takes_dicom_folders(self, tmp_path):
        folder = write_series(tmp_path / "p1" / "ct", np.zeros((2, 2, 2), np.int16))
        assert find_studies(tmp_path / "*" / "ct") == [Study("ct", folder)]

    def test_must_match(self, touch):
        with pytest.raises(StudyError, match=r"\*\.nii.*no image"):
            find_studies(touch("a.mha") / "*.nii")

    def test_a_file_with_a_bracket_in_its_name_is_a_file(self, touch):
        path = touch("a[1].nii") / "a[1].nii"
        assert find_studies(path) == [Study("a[1]", path)]


class TestChannels:
    def test_gathers_images_by_case(self, touch):
        folder = touch("b_0001.nii.gz", "b_0000.nii.gz", "a_x_0000.nii.gz", "a_x_0001.mha")
        assert find_studies(folder, channels=2) == [
            Study("a_x", folder / "a_x_0000.nii.gz", more_images=(folder / "a_x_0001.mha",)),
            Study("b", folder / "b_0000.nii.gz", more_images=(folder / "b_0001.nii.gz",)),
        ]
        assert find_studies(folder, channels=2)[1].images == (folder / "b_0000.nii.gz", folder / "b_0001.nii.gz")

    def test_one_channel_cuts_its_number_off(self, touch):
        folder = touch("a_0000.nii.gz")
        assert find_studies(folder, channels=1) == [Study("a", folder / "a_0000.nii.gz")]
        assert find_studies(folder) == [Study("a_0000", folder / "a_0000.nii.gz")]

    def test_one_error_names_every_fault(self, touch):
        folder = touch("a_0000.nii", "b_0000.nii", "b_0001.nii", "b_0002.nii", "c.nii", "d_0000.nii", "d_0000.mha")
        with pytest.raises(StudyError) as error:
            find_studies(folder, channels=2)
        assert str(error.value).splitlines()[1:] == [
            "- c.nii: is not named as a channel, such as case_0000.nii.gz",
            "- a: must have 2 channels, but lacks a_0001",
            "- b: must have 2 channels, but has beyond that b_0002.nii",
            "- d: must have 2 channels, but lacks d_0001",
            "- d: must have 2 channels, but has twice d_0000.mha, d_0000.nii",
        ]

    @pytest.mark.parametrize("name", ["a_0000.nii", "list.json"])
    def test_are_of_folders_only(self, touch, name):
        with pytest.raises(StudyError, match="channels"):
            find_studies(touch(name) / name, channels=1)

    def test_are_at_least_one(self, touch):
        with pytest.raises(StudyError, match="at least 1 channel, got 0"):
            find_studies(touch("a_0000.nii"), channels=0)


class TestFaults:
    """What is wrong with some does not stand in the way of the others, and is wrong with none silently."""

    def test_none(self, touch):
        listing = list_studies(touch("a.nii", "b.nii"))
        assert [study.case_id for study in listing.studies] == ["a", "b"]
        assert listing.faults == []

    def test_a_repeated_case_id_of_a_folder(self, touch):
        folder = touch("a.nii", "a.nii.gz", "b.nii", "c.img", "c.hdr", "c.mha")
        listing = list_studies(folder)
        assert listing.studies == [Study("b", folder / "b.nii")]
        assert listing.faults == [
            Fault(
                "a",
                "these files give the same case id, rename or move one: a.nii, a.nii.gz",
                (Study("a", folder / "a.nii"), Study("a", folder / "a.nii.gz")),
            ),
            Fault(
                "c",
                "these files give the same case id, rename or move one: c.img, c.mha",
                (Study("c", folder / "c.img"), Study("c", folder / "c.mha")),
            ),
        ]

    def test_a_repeated_case_id_of_a_pattern(self, touch):
        folder = touch("x/case/a.nii", "y/case/a.nii", "z/other/a.nii")
        listing = list_studies(folder / "*" / "*" / "a.nii")
        assert [study.case_id for study in listing.studies] == ["other"]
        assert [fault.case_id for fault in listing.faults] == ["case"]

    @pytest.mark.parametrize("name", ["\x07bell", "x" * 201])
    def test_a_name_that_is_no_case_id(self, touch, name):
        folder = touch("a.nii", f"{name}.nii")
        listing = list_studies(folder)
        assert [study.case_id for study in listing.studies] == ["a"]
        (fault,) = listing.faults
        assert fault.reason.startswith(f"{folder}/{name}.nii: a case id must print and have at most 200 bytes")
        assert [study.image for study in fault.studies] == [folder / f"{name}.nii"]

    def test_channels(self, touch):
        folder = touch("a_0000.nii", "b_0000.nii", "b_0001.nii", "b_0002.nii", "c.nii", "d_0000.nii", "d_0001.nii")
        listing = list_studies(folder, channels=2)
        assert [study.case_id for study in listing.studies] == ["d"]
        assert [(fault.case_id, fault.reason) for fault in listing.faults] == [
            (None, "c.nii: is not named as a channel, such as case_0000.nii.gz"),
            ("a", "a: must have 2 channels, but lacks a_0001"),
            ("b", "b: must have 2 channels, but has beyond that b_0002.nii"),
        ]

    def test_a_data_list(self, touch):
        folder = touch("a.nii")
        (folder / "list.csv").write_text(
            "case_id,image,label\na,a.nii,la.nii\nb,b.nii,\nb,c.nii,\nd,d.nii,d.nii\ne,e.nii,le.nii\nf,f.nii,le.nii\n"
            "g,C:/g.nii,\nb,b.nii,\n"
        )
        listing = list_studies(folder / "list.csv")
        assert [study.case_id for study in listing.studies] == ["a"]
        assert [(fault.case_id, fault.reason.partition(";")[0]) for fault in listing.faults] == [
            (
                None,
                "line 8: image: Value error, a path must be relative to the data root and separated by '/', got"
                " 'C:/g.nii'",
            ),
            ("b", "case ids must differ, but these occur more than once: b"),
            ("b", "every file may be listed once, but these occur more than once: b.nii (of b)"),
            ("d", "every file may be listed once, but these occur more than once: d.nii (of d)"),
            (None, "every file may be listed once, but these occur more than once: le.nii (of e, f)"),
        ]
        assert [[study.image.name for study in fault.studies] for fault in listing.faults] == [
            [],
            ["b.nii", "c.nii", "b.nii"],
            [],
            ["d.nii"],
            ["e.nii", "f.nii"],
        ]

    def test_a_data_list_without_a_sound_entry(self, touch):
        path = touch("a.nii") / "list.csv"
        path.write_text("case_id,image\na,a.nii\na,b.nii\nc,C:/c.nii\n")
        for read in (list_studies, find_studies):
            with pytest.raises(StudyError) as error:
                read(path)
            first, *others = str(error.value).splitlines()
            assert first == f"{path}: faults: 2"
            assert [line[:20] for line in others] == ["- line 4: image: Val", "- case ids must diff"]

    def test_a_fold_of_a_data_list(self, data_list):
        document = json.loads(data_list.read_text())
        document["training"] += [{"id": "x", "image": "images/b.nii.gz", "label": "labels/x.nii.gz", "fold": 0}]
        data_list.write_text(json.dumps(document))
        listing = list_studies(data_list, fold=2)
        assert [study.case_id for study in listing.studies] == ["case_c"]
        assert ["(of case_b, x)" in fault.reason for fault in listing.faults] == [True]

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b"7", b'{"training": 5}', b"\xff\xfe", b"[" * 100_000, b"\0" * 9,
         b'{"training": [NaN]}',
         b'{"name": "x", "labels": {"0": "b"}, "training": [{"image": "\\ud800", "label": "\\ud800"}]}',
         b'{"name": "x", "labels": {"0": "b"}, "training": [{"image": "a", "label": "b", "fold": ' + b"9" * 5000
         + b"}]}"],
    )  # fmt: skip
    def test_what_is_no_data_list(self, tmp_path, content):
        for name in ("list.json", "list.csv"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(StudyError, match=name.replace(".", r"\.")):
                list_studies(tmp_path / name)

    def test_paths_that_cannot_be(self, tmp_path):
        (tmp_path / "list.json").write_text(
            json.dumps({"name": "x", "labels": {"0": "b"}, "training": [], "test": [{"id": "a", "image": "x" * 5000}]})
        )
        with pytest.raises(StudyError, match="none of the 1 listed images is there"):
            list_studies(tmp_path / "list.json")
        with pytest.raises(StudyError, match="cannot be listed"):
            list_studies(tmp_path / ("x" * 300))

    def test_a_folder_of_dicom_folders(self, public_folder, as_another_user):
        for name in ("a", "b"):
            write_series(public_folder / name, np.zeros((2, 2, 2), np.int16))
        (public_folder / "b").chmod(0)
        (public_folder / "c").symlink_to("c")
        (public_folder / "d").symlink_to("gone")
        with as_another_user():
            listing = list_studies(public_folder)
            with pytest.raises(StudyError, match=f"{public_folder}: faults: 3\n"):
                find_studies(public_folder)
        assert [study.case_id for study in listing.studies] == ["a"]
        assert [fault.reason.partition(";")[0] for fault in listing.faults] == [
            f"{public_folder}/b: cannot be looked into (Permission denied)",
            f"{public_folder}/c: cannot be looked into (Too many levels of symbolic links)",
            f"{public_folder}/d: cannot be looked into (No such file or directory)",
        ]

    def test_an_unreadable_file_is_its_own_study_s_fault(self, public_folder, as_another_user):
        for name in ("a.nii", "b.nii"):
            (public_folder / name).write_bytes(b"x" * 400)
        (public_folder / "a.nii").chmod(0)
        with as_another_user():
            assert [study.case_id for study in find_studies(public_folder)] == ["a", "b"]

    def test_a_folder_that_is_shut(self, public_folder, as_another_user):
        (public_folder / "a.nii").touch()
        public_folder.chmod(0)
        with as_another_user(), pytest.raises(StudyError, match=r"cannot be listed \(Permission denied\)"):
            list_studies(public_folder)

    def test_a_folder_that_a_pattern_must_not_look_into(self, public_folder, as_another_user):
        for name in ("a", "b", "c"):
            (public_folder / name).mkdir()
            (public_folder / name / "ct.nii").touch()
        (public_folder / "b").chmod(0)
        for pattern in ("*/ct.nii", "**/ct.nii", "**/*.nii", "*/*"):
            with as_another_user():
                listing = list_studies(public_folder / pattern)
            assert [study.case_id for study in listing.studies] == ["a", "c"]
            assert [fault.reason.partition(";")[0] for fault in listing.faults] == [
                f"{public_folder}/b: cannot be looked into (Permission denied)"
            ]

    def test_links_that_lead_back(self, touch):
        folder = touch("a/x.nii", "b/deep/y.nii")
        for place in ("a/up", "a/again", "b/deep/up"):
            (folder / place).symlink_to(folder)
        (folder / "a" / "self").symlink_to("self")
        listing = list_studies(folder / "**" / "*.nii")
        assert [study.image for study in listing.studies] == [folder / "a/x.nii", folder / "b/deep/y.nii"]
        assert [fault.reason.partition(" ")[0] for fault in listing.faults] == [f"{folder}/a/self:"]

    def test_links_to_what_was_not_fetched(self, touch):
        folder = touch("a/x.nii", "b/notes.txt")
        (folder / "b" / "x.nii").symlink_to("gone")  # a study, which fails by itself
        (folder / "readme").symlink_to("gone")
        for pattern in ("**/*", "*/*", "**/x.nii"):
            assert [study.case_id for study in find_studies(folder / pattern)] == ["a", "b"]

    @pytest.mark.parametrize("name", ["x.nii", "x.npz", "x"])
    def test_a_fifo_in_a_folder(self, touch, name):
        folder = touch("a.nii")
        os.mkfifo(folder / name)
        assert [study.case_id for study in find_studies(folder)] == (["a", "x"] if name == "x.nii" else ["a"])

    @pytest.mark.parametrize("name", ["x.nii", "x.json", "x.csv", "x"])
    def test_a_fifo(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        with pytest.raises(StudyError, match=name):
            list_studies(tmp_path / name)


def test_no_file_is_opened(touch):
    # The files are empty, so opening one would fail.
    assert len(find_studies(touch(*(f"{number}.nii.gz" for number in np.arange(5))))) == 5


CSV = "case_id,image,label,fold\n{}\n"
LABELLED = "one,images/a.nii.gz,labels/a.nii.gz,0", "two,images/b.nii.gz,labels/b.nii.gz,1", "three,images/c.nii.gz,,"


@pytest.fixture
def folder(tmp_path):
    """Images of a, b and c and label maps of a and b, by kind and once more with a folder a case."""
    names = [f"images/{case}.nii.gz" for case in "abc"] + [f"labels/{case}.nii.gz" for case in "ab"]
    names += [f"cases/{case}/{name}.nii.gz" for case in "ab" for name in ("imaging", "segmentation")]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture(params=["list.csv", "LIST.CSV", "list.json", "list.JSON"])
def list_with_labels(request, folder):
    """Cases one and two with label maps, and three without."""
    path = folder / request.param
    if path.suffix.lower() == ".csv":
        path.write_text(CSV.format("\n".join(LABELLED)))
        return path
    training = [
        {"id": name, "image": f"images/{case}.nii.gz", "label": f"labels/{case}.nii.gz", "fold": fold}
        for fold, (name, case) in enumerate([("one", "a"), ("two", "b")])
    ]
    test = [{"id": "three", "image": "images/c.nii.gz"}]
    path.write_text(json.dumps({"name": "x", "labels": {"0": "background"}, "training": training, "test": test}))
    return path


class TestReferences:
    def test_of_a_data_list_the_labels(self, folder, list_with_labels):
        labels = folder / "labels"
        assert find_references(list_with_labels) == {"one": labels / "a.nii.gz", "two": labels / "b.nii.gz"}
        assert find_references(list_with_labels, fold=1) == {"two": labels / "b.nii.gz"}

    def test_of_a_data_list_elsewhere(self, folder, list_with_labels, tmp_path):
        (tmp_path / "lists").mkdir()
        moved = list_with_labels.rename(tmp_path / "lists" / list_with_labels.name)
        assert find_references(moved, data_root=folder)["one"] == folder / "labels" / "a.nii.gz"

    def test_a_folder_a_pattern_and_a_file(self, folder):
        files = {case: folder / "labels" / f"{case}.nii.gz" for case in "ab"}
        assert find_references(folder / "labels") == files
        assert find_references(folder / "lab*" / "*.nii.gz") == files
        assert find_references(files["a"]) == {"a": files["a"]}

    def test_of_one_name_in_many_folders(self, folder):
        assert find_references(folder / "cases" / "*" / "segmentation.nii.gz") == {
            case: folder / "cases" / case / "segmentation.nii.gz" for case in "ab"
        }

    @pytest.mark.parametrize("content", [CSV.format(LABELLED[2]), "case_id,image\none,images/a.nii.gz\n"])
    def test_a_data_list_without_any_label(self, folder, content):
        (folder / "list.csv").write_text(content)
        with pytest.raises(StudyError, match=r"list\.csv: must name a label .* none of its 1 entries has one"):
            find_references(folder / "list.csv")


class TestPredictions:
    def test_a_folder_a_pattern_and_a_file(self, folder):
        files = {case: folder / "labels" / f"{case}.nii.gz" for case in "ab"}
        assert find_predictions(folder / "labels") == find_predictions(folder / "labels" / "?.nii.gz") == files
        assert find_predictions(files["a"]) == {"a": files["a"]}

    def test_a_data_list_has_none(self, list_with_labels):
        with pytest.raises(StudyError, match=r"(?i)list\.\w+: is a data list, .* no predictions; give the folder"):
            find_predictions(list_with_labels)
