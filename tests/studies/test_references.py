"""Which files stand for the predictions and the references of cases; none is opened, so all are empty."""

import json

import pytest

from rankseg_med.studies import StudyError, find_predictions, find_references

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
def data_list(request, folder):
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
    def test_of_a_data_list_the_labels(self, folder, data_list):
        labels = folder / "labels"
        assert find_references(data_list) == {"one": labels / "a.nii.gz", "two": labels / "b.nii.gz"}
        assert find_references(data_list, fold=1) == {"two": labels / "b.nii.gz"}

    def test_of_a_data_list_elsewhere(self, folder, data_list, tmp_path):
        (tmp_path / "lists").mkdir()
        moved = data_list.rename(tmp_path / "lists" / data_list.name)
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

    def test_a_data_list_has_none(self, data_list):
        with pytest.raises(StudyError, match=r"(?i)list\.\w+: is a data list, .* no predictions; give the folder"):
            find_predictions(data_list)
