"""Files of a BIDS data set, read back by nibabel and as text."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from rankseg_med.errors import InputError
from rankseg_med.studies import BidsFormat, StudyError, read_structures

NAMES = {1: "liver", 2: "liver tumour"}


@pytest.fixture
def image(save, ct):
    return save("images of mine/sub-01/anat/sub-01_T1w.nii.gz", ct)


@pytest.fixture
def sources(image):
    return image.parents[2]


def written(format, folder, case_id, image, names=NAMES, **options):
    (path, *_) = paths = format.paths_in(folder, case_id, [image])
    labels = np.zeros(nib.load(image).shape[:3], np.uint8)
    labels[1, 2, 3], labels[4, 0, 6] = 1, 2
    format.write(torch.from_numpy(labels), path, grid_of=image, names=names, inputs=[image], **options)
    assert all(file.is_file() for file in paths)
    return labels, paths


def test_a_label_map(tmp_path, image, sources):
    labels, (path, sidecar) = written(BidsFormat(sources), tmp_path / "out", "sub-01_T1w", image)
    assert path == tmp_path / "out/sub-01/anat/sub-01_dseg.nii.gz"
    found = nib.load(path)
    np.testing.assert_array_equal(np.asarray(found.dataobj), labels)
    np.testing.assert_array_equal(found.affine, nib.load(image).affine)
    said = json.loads(sidecar.read_text())
    assert said.pop("Description").startswith("Discrete segmentation by rankseg-med")
    assert said == {
        "Manual": False,
        "Sources": ["bids:imagesofmine:sub-01/anat/sub-01_T1w.nii.gz"],
        "SpatialReference": "orig",
    }
    links = json.loads((tmp_path / "out/dataset_description.json").read_text())["DatasetLinks"]
    assert links == {"imagesofmine": sources.as_uri()}


def test_the_table_has_colours_as_the_config_says(tmp_path, image, sources):
    """Okabe and Ito's vermilion, (214, 94, 0), comes first."""
    format = BidsFormat(sources, read_structures({"liver tumour": {"colour": [0, 10, 255]}}))
    _, (path, _) = written(format, tmp_path / "out", "sub-01_T1w", image)
    table = (tmp_path / "out" / "dseg.tsv").read_text()
    assert table == "index\tname\tcolor\n1\tliver\t#D65E00\n2\tliver tumour\t#000AFF\n"
    (extension,) = nib.load(path).header.extensions
    assert b'Key="2" Red="0" Green="0.039" Blue="1"' in extension.content
    before = path.read_bytes()
    with pytest.raises(StudyError, match=r"dseg\.tsv: gives the labels the colours \{2: '#000AFF'\}"):
        written(BidsFormat(sources), tmp_path / "out", "sub-01_T1w", image)
    assert (path.read_bytes(), (tmp_path / "out" / "dseg.tsv").read_text()) == (before, table)
    # Who takes colours out of the table wants none there.
    (tmp_path / "out" / "dseg.tsv").write_text("index\tname\n1\tliver\n2\tliver tumour\n")
    written(BidsFormat(sources), tmp_path / "out", "sub-01_T1w", image)


def test_probabilities(tmp_path, image, sources):
    values = torch.rand((2, 5, 6, 7), generator=torch.Generator().manual_seed(0)) / 2
    values[:, 0, 0, 0] = torch.tensor([0.0, 1.0])
    format = BidsFormat(sources, probabilities=True)
    _, paths = written(format, tmp_path / "out", "sub-01_T1w", image, probabilities=values)
    assert [path.name for path in paths] == [
        *("sub-01_dseg.nii.gz", "sub-01_probseg.nii.gz", "sub-01_dseg.json", "sub-01_probseg.json")
    ]
    found = nib.load(paths[1])
    np.testing.assert_array_equal(found.affine, nib.load(paths[0]).affine)
    # Half a step of 16 bits, and what single precision loses.
    np.testing.assert_allclose(found.get_fdata(), values.permute(1, 2, 3, 0), rtol=0, atol=0.5 / 65535 + 1e-6)
    assert 0 == found.get_fdata().min() < found.get_fdata().max() <= 1
    said = json.loads(paths[3].read_text())
    assert said["LabelMap"] == ["liver", "liver tumour"]
    assert "the background's" in said["Description"]
    assert said["Sources"] == json.loads(paths[2].read_text())["Sources"]


def test_on_the_grid_of_probabilities(tmp_path, save, ct):
    """Stored probabilities without an image are a 4-D file, which says where they lie."""
    stored = save("raw/sub-1_res-2.nii.gz", np.zeros((*ct.shape, 3), np.float32))
    values = torch.full((2, *ct.shape), 0.25)
    format = BidsFormat(tmp_path / "raw", probabilities=True)
    _, paths = written(format, tmp_path / "out", "sub-1_res-2", stored, probabilities=values)
    found = nib.load(paths[1])
    assert found.shape == (*ct.shape, 2)
    np.testing.assert_array_equal(found.affine, nib.load(stored).affine)
    np.testing.assert_allclose(found.get_fdata(), 0.25, rtol=0, atol=1e-5)


def test_a_label_without_a_name(tmp_path, image, sources):
    with pytest.raises(StudyError, match="every label must have a name, and 2 has none"):
        written(BidsFormat(sources), tmp_path / "out", "sub-01_T1w", image, names={1: "liver"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(1, 5, 6, 7), (2, 5, 6, 6)])
def test_probabilities_of_something_else(tmp_path, image, sources, shape):
    format = BidsFormat(sources, probabilities=True)
    for given in (None, torch.zeros(shape)):
        with pytest.raises(StudyError, match="needs probabilities of 2 structures"):
            written(format, tmp_path / "out", "sub-01_T1w", image, probabilities=given)
    assert not (tmp_path / "out").exists()


def test_images_in_a_space_of_a_name_and_resolution(tmp_path, save, ct):
    image = save("raw/sub-1_space-T1w_res-hi_T2w.nii.gz", ct)
    _, (_, sidecar) = written(BidsFormat(tmp_path / "raw"), tmp_path / "out", "sub-1_space-T1w_res-hi_T2w", image)
    said = json.loads(sidecar.read_text())
    assert said["SpatialReference"] == said["Sources"][0] == "bids:raw:sub-1_space-T1w_res-hi_T2w.nii.gz"
    assert said["Resolution"] == "voxels of 0.7 x 0.7 x 2.5 mm"
    image = save("raw/sub-2_space-orig_T2w.nii.gz", ct)
    _, (_, sidecar) = written(BidsFormat(tmp_path / "raw"), tmp_path / "out", "sub-2_space-orig_T2w", image)
    assert json.loads(sidecar.read_text())["SpatialReference"] == "orig"


def test_all_images_are_sources(tmp_path, save, ct):
    """With signs that a URI must not have; RFC 3986, section 2.1."""
    images = [save(f"raw/Müller 3_000{channel}.nii.gz", ct) for channel in range(2)]
    format = BidsFormat(tmp_path / "raw")
    path, sidecar = format.paths_in(tmp_path / "out", "Müller 3", images)
    format.write(np.zeros(ct.shape, np.uint8), path, grid_of=images[0], names=NAMES, inputs=images)
    said = json.loads(sidecar.read_text())
    assert said["Sources"] == ["bids:raw:M%C3%BCller%203_0000.nii.gz", "bids:raw:M%C3%BCller%203_0001.nii.gz"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, "BIDS must name every structure"),
        ({}, "BIDS must name every structure"),
        ({1: "a\tb"}, r"got 'a\\tb'"),
        ({1: 'so-called "liver"'}, "no quotation marks"),
        ({1: " "}, "must print"),
        ({1: "liver"}, "there is no 'spleen' among the names of labels, liver"),
    ],
)
def test_names_that_a_table_cannot_hold(tmp_path, image, sources, names, message):
    format = BidsFormat(sources, read_structures({"spleen": {}}))
    with pytest.raises(InputError, match=message):
        format.check_names(names)
    with pytest.raises(InputError, match=message):
        written(format, tmp_path / "out", "sub-01_T1w", image, names=names)
    assert not (tmp_path / "out").exists()


def test_labels_of_other_names_in_the_same_data_set(tmp_path, image, sources):
    written(BidsFormat(sources), tmp_path / "out", "sub-01_T1w", image)
    with pytest.raises(StudyError, match=r"dseg\.tsv: names the labels"):
        written(BidsFormat(sources), tmp_path / "out", "sub-02_T1w", image, names={1: "kidney", 2: "cyst"})
    assert not (tmp_path / "out" / "sub-02").exists()


def test_where_images_lie_is_no_setting(tmp_path):
    """Results do not depend on it, and the digest of settings is made of this text."""
    assert repr(BidsFormat(tmp_path)) == "BidsFormat(structures={}, probabilities=False)"
