"""What says that a folder is a derivative data set."""

import json
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from rankseg_med import __version__
from rankseg_med.errors import InputError
from rankseg_med.studies import BidsFormat, DicomSegFormat, NiftiFormat, Sidecar
from rankseg_med.studies.bids import dataset
from rankseg_med.studies.bids.dataset import check_dataset, is_dataset, join_dataset, records_beside


def description(folder):
    return json.loads((folder / "dataset_description.json").read_text())


def test_a_new_one(tmp_path):
    out = tmp_path / "out"
    check_dataset(out)
    assert not out.exists()
    assert join_dataset(out, Path("/data/images Tr")) == "imagesTr"
    assert description(out) == {
        "Name": "Segmentations by rankseg-med",
        "BIDSVersion": "1.11.1",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "rankseg-med", "Version": __version__}],
        "DatasetLinks": {"imagesTr": "file:///data/images%20Tr"},
    }
    assert is_dataset(out)
    assert {path.name for path in out.iterdir()} == {"dataset_description.json", "README.md", "dseg.json"}
    check_dataset(out)


def test_once_more_changes_nothing(tmp_path):
    join_dataset(tmp_path, Path("/data/images"))
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.iterdir()}
    assert join_dataset(tmp_path, Path("/data/images")) == "images"
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.iterdir()} == before


def test_sources_of_one_name_and_of_none(tmp_path):
    names = [join_dataset(tmp_path, Path(place)) for place in ("/a/images", "/b/images", "/", "/c/images", "/b/images")]
    assert names == ["images", "images2", "sources", "images3", "images2"]
    assert description(tmp_path)["DatasetLinks"] == {
        "images": "file:///a/images",
        "images2": "file:///b/images",
        "sources": "file:///",
        "images3": "file:///c/images",
    }


def test_within_the_data_set_of_the_images(tmp_path):
    """As BIDS has it: a data set that is moved as a whole keeps its links."""
    out = tmp_path / "raw" / "derivatives" / "rankseg"
    out.mkdir(parents=True)
    (tmp_path / "raw" / "dataset_description.json").write_text("{}")
    join_dataset(out, tmp_path / "raw")
    assert description(out)["DatasetLinks"] == {"raw": "../.."}


def test_what_somebody_adds_stays(tmp_path, monkeypatch):
    join_dataset(tmp_path, Path("/data/images"))
    own = description(tmp_path) | {"Name": "Livers", "Authors": ["A", "B"]}
    (tmp_path / "dataset_description.json").write_text(json.dumps(own))
    (tmp_path / "README.md").unlink()
    (tmp_path / "README").write_text("Mine.")
    monkeypatch.setattr(dataset, "__version__", "99")
    join_dataset(tmp_path, Path("/data/images"))
    makers = [{"Name": "rankseg-med", "Version": version} for version in (__version__, "99")]
    assert description(tmp_path) == own | {"GeneratedBy": makers}
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"Name": "Raw", "BIDSVersion": "1.8.0"}, "describes another data set, 'Raw'"),
        (
            {"Name": "fMRIPrep", "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]},
            "describes another data set, 'fMRIPrep'",
        ),
        ({"GeneratedBy": "me"}, "must be the description of a BIDS data set"),
        (["a"], "must be the description of a BIDS data set"),
    ],
)
def test_other_data_sets_are_not_touched(tmp_path, content, message):
    path = tmp_path / "dataset_description.json"
    path.write_text(json.dumps(content))
    for refused in (lambda: check_dataset(tmp_path), lambda: join_dataset(tmp_path, Path("/data"))):
        with pytest.raises(InputError, match=message):
            refused()
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [(path.name, json.dumps(content))]


def test_no_json_and_no_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "dataset_description.json").write_text("{")
    (tmp_path / "b" / "dataset_description.json").mkdir(parents=True)
    for folder in ("a", "b"):
        with pytest.raises(InputError, match="must be the description of a BIDS data set"):
            check_dataset(tmp_path / folder)


def test_several_at_once(tmp_path):
    places = [Path(f"/data/{number % 3}") for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda place: join_dataset(tmp_path, place), places))
    assert names == [place.name for place in places]
    assert sorted(description(tmp_path)["DatasetLinks"]) == ["0", "1", "2"]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_no_link_is_lost_that_another_adds_meanwhile(tmp_path, monkeypatch):
    read, pool = dataset._Description.read, ThreadPoolExecutor(1)
    others = []

    def slowly(folder):
        found = read(folder)
        if not others:
            others.append(pool.submit(join_dataset, tmp_path, Path("/data/b")))
            wait(others, timeout=0.3)
        return found

    monkeypatch.setattr(dataset._Description, "read", slowly)
    join_dataset(tmp_path, Path("/data/a"))
    assert others[0].result() == "b"
    assert sorted(description(tmp_path)["DatasetLinks"]) == ["a", "b"]
    pool.shutdown()


def test_flat_label_maps_lie_elsewhere(tmp_path, save, ct):
    """Each layout's readers know nothing of the other's label maps."""
    image = save("a.nii.gz", ct)
    flat, out = tmp_path / "flat", tmp_path / "out"
    NiftiFormat().check_folder(flat)
    Sidecar.model_validate(
        {
            **{"case_id": "a", "job": "predict", "status": "started", "inputs": [], "outputs": {}},
            **{"input_fingerprint": "", "config_digest": "", "time": "", "host": ""},
        }
    ).write(flat)
    with pytest.raises(InputError, match="holds label maps that are no data set, such as of a"):
        BidsFormat(tmp_path).check_folder(flat)
    format = BidsFormat(tmp_path)
    (path, _) = format.paths_in(out, "a", [image])
    format.write(np.zeros(ct.shape, np.uint8), path, grid_of=image, names={1: "liver"})
    format.check_folder(out)
    for other in (NiftiFormat(), DicomSegFormat()):
        with pytest.raises(InputError, match="is a BIDS data set, in which nobody looks"):
            other.check_folder(out)


def test_where_the_record_of_a_label_map_lies(tmp_path):
    label_map = tmp_path / "sub-1" / "anat" / "sub-1_dseg.nii.gz"
    assert records_beside(label_map) == label_map.parent
    join_dataset(tmp_path, Path("/data"))
    assert records_beside(label_map) == tmp_path / "logs"
    assert records_beside(Path("out/a.nii.gz")) == Path("out")
    flat = tmp_path / "sub-1" / "predicted" / "a.nii.gz"
    assert records_beside(flat) == flat.parent
