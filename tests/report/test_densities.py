import numpy as np
import pytest
from matplotlib.image import imread

from rankseg_med.report import save_densities

GROUPS = {"labelled": np.array([0.1, 0.4, 0.3]), "unlabelled": np.array([0.2, 0.9])}


def test_a_panel_for_each_structure_in_the_format_of_its_name(tmp_path):
    one, two, document = (tmp_path / name for name in ("one.png", "two.png", "two.pdf"))
    save_densities(one, {"organ": GROUPS}, axis="x")
    for path in (two, document):
        save_densities(path, {"organ": GROUPS, "肿瘤": GROUPS}, axis="x")
    assert imread(two).shape[1] == 2 * imread(one).shape[1]
    assert document.read_bytes().startswith(b"%PDF")
    assert set(tmp_path.iterdir()) == {one, two, document}


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "need a panel"),
        ({"organ": {}}, "need a panel"),
        ({"organ": {str(number): GROUPS["labelled"] for number in range(8)}}, "1 to 7 groups"),
        ({"organ": {"labelled": np.array([0.5, 0.5])}}, "two different numbers"),
    ],
)
def test_what_has_no_density_leaves_what_was_there(tmp_path, panels, message):
    path = tmp_path / "figure.png"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=message):
        save_densities(path, panels, axis="x")
    assert path.read_bytes() == b"before"
