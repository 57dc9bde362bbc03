import json

import pytest
from monai.data import load_decathlon_datalist
from pydantic import ValidationError

from rankseg_med.studies import ImageEntry, LabelledEntry, Manifest, StudyError

MANIFEST = Manifest(
    name="liver",
    labels={"0": "background", "1": "liver"},
    training=[
        LabelledEntry(id="a", image="images/a.nii.gz", label="labels/a.nii.gz", fold=0),
        LabelledEntry(id="b", image="../other/b.nii.gz", label="labels/b.nii.gz", fold=1),
    ],
    test=[ImageEntry(id="c", image="images/c.nii.gz")],
)


def content(**changes):
    return {
        "name": "liver",
        "labels": {"0": "background", "1": "liver"},
        "training": [{"id": "a", "image": "images/a.nii.gz", "label": "labels/a.nii.gz", "fold": 0}],
        **changes,
    }


def entry(**changes):
    return {"id": "b", "image": "images/b.nii.gz", "label": "labels/b.nii.gz", "fold": 0, **changes}


@pytest.fixture
def read(tmp_path):
    def write_and_read(document):
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / "list.json").write_text(text, encoding="latin-1")
        return Manifest.read(tmp_path / "list.json")

    return write_and_read


def test_round_trip(tmp_path):
    MANIFEST.write(tmp_path / "new" / "list.json")
    assert Manifest.read(tmp_path / "new" / "list.json") == MANIFEST
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["list.json"]


def test_written_form_is_that_of_the_decathlon(tmp_path):
    MANIFEST.write(tmp_path / "list.json")
    assert json.loads((tmp_path / "list.json").read_text()) == {
        "name": "liver",
        "labels": {"0": "background", "1": "liver"},
        "training": [
            {"id": "a", "image": "images/a.nii.gz", "label": "labels/a.nii.gz", "fold": 0},
            {"id": "b", "image": "../other/b.nii.gz", "label": "labels/b.nii.gz", "fold": 1},
        ],
        "test": [{"id": "c", "image": "images/c.nii.gz"}],
    }


def test_monai_reads_what_is_written(tmp_path):
    MANIFEST.write(tmp_path / "data" / "list.json")
    training = load_decathlon_datalist(tmp_path / "data" / "list.json", data_list_key="training")
    assert training == [
        {
            "id": "a",
            "image": f"{tmp_path}/data/images/a.nii.gz",
            "label": f"{tmp_path}/data/labels/a.nii.gz",
            "fold": 0,
        },
        {"id": "b", "image": f"{tmp_path}/other/b.nii.gz", "label": f"{tmp_path}/data/labels/b.nii.gz", "fold": 1},
    ]
    test = load_decathlon_datalist(tmp_path / "data" / "list.json", data_list_key="test")
    assert test == [{"id": "c", "image": f"{tmp_path}/data/images/c.nii.gz"}]


def test_an_empty_test_list_is_left_out_because_monai_fails_on_it(tmp_path):
    MANIFEST.model_copy(update={"test": []}).write(tmp_path / "list.json")
    assert "test" not in json.loads((tmp_path / "list.json").read_text())
    assert Manifest.read(tmp_path / "list.json").test == []


def test_reads_a_list_of_the_decathlon_itself(read):
    manifest = read(
        {
            "name": "Hippocampus",
            "licence": "CC-BY-SA 4.0",
            "modality": {"0": "MRI"},
            "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
            "numTraining": 1,
            "training": [{"image": "./imagesTr/hippocampus_367.nii.gz", "label": "./labelsTr/hippocampus_367.nii.gz"}],
            "test": ["./imagesTs/hippocampus_267.nii.gz"],
        }
    )
    assert manifest.training == [
        LabelledEntry(
            id="hippocampus_367", image="imagesTr/hippocampus_367.nii.gz", label="labelsTr/hippocampus_367.nii.gz"
        )
    ]
    assert manifest.training[0].fold is None
    assert manifest.test == [ImageEntry(id="hippocampus_267", image="imagesTs/hippocampus_267.nii.gz")]


def test_an_entry_without_a_fold_is_written_without_one(read, tmp_path):
    unfolded = entry()
    del unfolded["fold"]
    read(content(training=[unfolded])).write(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["training"] == [unfolded]


def test_further_keys_survive(read, tmp_path):
    read(content(licence="CC0", training=[entry(scanner="A")])).write(tmp_path / "again.json")
    document = json.loads((tmp_path / "again.json").read_text())
    assert document["licence"] == "CC0"
    assert document["training"] == [entry(scanner="A")]


@pytest.mark.parametrize(
    ("document", "reasons"),
    [
        ('{"name": "liver",', ["Invalid JSON"]),
        ("", ["Invalid JSON"]),
        ("\xff", ["Invalid JSON"]),
        ([], ["object"]),
        ({}, ["name: Field required", "labels: Field required", "training: Field required"]),
        (content(labels={"background": 0}), ["labels"]),
        (content(labels={"1": "liver"}), ['labels.*"0"']),
        (content(labels={"0": "background", "256": "liver"}), ["labels.*256"]),
        (content(labels={"0": "background", "01": "liver"}), ["labels.*01"]),
        (content(training=[{"image": "a.nii.gz"}]), [r"training\.0\.label: Field required"]),
        (content(training=[entry(image=[])]), [r"training\.0\.image"]),
        (content(training=[entry(image=["a.nii.gz", "/b.nii.gz"])]), [r"training\.0\.image.*relative.*/b\.nii\.gz"]),
        (content(training=[entry(image=["a.nii.gz", "a.nii.gz"])]), [r"more than once: a\.nii\.gz"]),
        (content(training=[entry(fold=-1)]), [r"training\.0\.fold"]),
        (content(training=[entry(id="../b")]), [r"training\.0\.id.*case id"]),
        (content(training=[entry(image="/data/b.nii.gz")]), [r"training\.0\.image.*relative.*/data/b\.nii\.gz"]),
        (content(training=[entry(label="C:/b.nii.gz")]), [r"training\.0\.label.*relative.*C:/b\.nii\.gz"]),
        (content(training=[entry(label="labels\\b.nii.gz")]), [r"training\.0\.label.*separated by"]),
        (content(training=[entry(label="")]), [r"training\.0\.label.*relative"]),
        (content(test=5), ["test: .*array"]),
        (content(test=[5]), [r"test\.0"]),
        (content(training=[entry(), entry(image="x.nii", label="y.nii")]), ["more than once: b;"]),
        (content(test=["other/a.nii.gz"]), ["ids.*more than once: a;"]),
        (content(training=[entry(), entry(id="c", label="y.nii")]), [r"more than once: images/b\.nii\.gz"]),
        (content(training=[entry(), entry(id="c", image="x.nii", label="./labels/b.nii.gz")]), [r"labels/b\.nii\.gz"]),
        (content(test=[{"id": "z", "image": "images/a.nii.gz"}]), [r"more than once: images/a\.nii\.gz"]),
    ],
)
def test_faults_of_a_list_are_named(read, document, reasons):
    with pytest.raises(StudyError, match=rf"list\.json: not a data list: .*{'.*'.join(reasons)}"):
        read(document)


def test_not_utf8(tmp_path):
    (tmp_path / "list.json").write_bytes(json.dumps(content(name="x")).encode().replace(b"x", b"\xff"))
    with pytest.raises(StudyError, match=r"list\.json"):
        Manifest.read(tmp_path / "list.json")


@pytest.mark.parametrize("name", ["gone.json", ""])
def test_a_list_that_cannot_be_read(tmp_path, name):
    with pytest.raises(StudyError, match=f"{tmp_path}.*cannot be read"):
        Manifest.read(tmp_path / name)


def test_faults_in_code_are_named_too():
    with pytest.raises(ValidationError, match="more than once: a;"):
        Manifest(name="x", labels={"0": "background"}, training=[MANIFEST.training[0]] * 2)


def test_several_images_are_channels(read, tmp_path):
    images = ["images/b_0000.nii.gz", "images/b_0001.nii.gz"]
    manifest = read(content(training=[{"image": images, "label": "labels/b.nii.gz"}]))
    assert manifest.training[0].id == "b"
    assert manifest.training[0].images == tuple(images)
    manifest.write(tmp_path / "again.json")
    assert Manifest.read(tmp_path / "again.json") == manifest
    (monai,) = load_decathlon_datalist(tmp_path / "again.json")
    assert monai["image"] == [f"{tmp_path}/{image}" for image in images]


@pytest.mark.parametrize("identifier", ["../b", "/etc/b", "a/b", "..", "a\nb", "a\0b", "x" * 201])
def test_ids_that_would_leave_the_output_folder_or_not_name_a_file(read, identifier):
    with pytest.raises(StudyError, match=r"training\.0\.id.*case id"):
        read(content(training=[entry(id=identifier)]))
