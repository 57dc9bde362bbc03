import io

import numpy as np
from PIL import Image

from rankseg_med.report.slices import picture_of, telling_slices
from rankseg_med.report.study_view import StudyView

NAMES = {1: "organ", 2: "tumour"}
BLUE = (0x00, 0x73, 0xB3)  # Okabe and Ito, the second of the labels' colours


def view(label_map: np.ndarray, **others: np.ndarray) -> StudyView:
    """A grey study of 2 x 2 x 5 mm."""
    grey = np.full(label_map.shape, 100, np.uint8)
    return StudyView(
        label_map, np.diag([2.0, 2, 5, 1]), (0, 0, 10), (50, 50, 40), grey, (0.0, 255.0), (0.0, 255.0), others
    )


def volume(**boxes: tuple[slice, slice, slice]) -> np.ndarray:
    labels = np.zeros((30, 20, 8), np.uint8)
    for name, box in boxes.items():
        labels[box] = {"organ": 1, "tumour": 2}[name]
    return labels


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)


def test_the_slice_is_that_of_the_tumours_largest_cross_section():
    labels = volume(organ=np.s_[5:25, 5:15, 1:7], tumour=np.s_[6:9, 6:9, 2:6])
    labels[6:12, 6:12, 4] = 2
    (picture,) = telling_slices(view(labels), NAMES)
    # Index 4 of a cut that begins at index 10.
    assert picture.caption == "Largest cross-section of tumour, slice 15 of 40"


def test_the_patients_right_front_is_at_the_upper_left():
    labels = volume(tumour=np.s_[24:30, 15:20, 3:4])
    (picture,) = telling_slices(view(labels), NAMES)
    drawn = pixels(picture.jpeg)
    assert drawn.shape == (192, 288, 3)  # 60 mm across, 40 mm high
    coloured = np.ptp(drawn, axis=-1) > 40
    # 12 of 60 mm, and 10 of 40 mm.
    assert coloured[4:44, 4:52].mean() > 0.95
    assert not coloured[60:].any()
    assert not coloured[:, 70:].any()


def test_the_largest_disagreement_with_a_reference_is_outlined():
    labels, reference = volume(tumour=np.s_[5:10, 5:10, 2:5]), volume(tumour=np.s_[5:10, 5:10, 2:5])
    reference[20:28, 5:15, 6] = 2
    _, picture = telling_slices(view(labels, reference=reference), NAMES)
    assert picture.caption == "Largest disagreement with the reference (white outline): 80 voxels, slice 17 of 40"
    drawn = pixels(picture.jpeg)
    assert (drawn.min(axis=-1) > 200).any()
    assert not (np.ptp(drawn, axis=-1) > 60).any()  # there is nothing of the label map itself


def test_a_missed_tumour_is_shown_where_the_reference_has_it():
    pictures = telling_slices(view(volume(), reference=volume(tumour=np.s_[5:10, 5:10, 2:3])), NAMES)
    assert pictures[0].caption.startswith(
        "Largest cross-section of tumour, slice 13 of 40; it is in the reference alone"
    )


def test_nothing_to_see():
    (picture,) = telling_slices(view(volume()), NAMES)
    assert picture.caption == "No label is there; middle slice, slice 15 of 40"


def test_the_same_label_map_has_no_picture_of_a_disagreement():
    labels = volume(organ=np.s_[5:10, 5:10, 2:5])
    assert len(telling_slices(view(labels, reference=labels.copy()), {})) == 1


def test_a_class_keeps_its_colour_where_others_are_missing():
    (picture,) = telling_slices(view(volume(tumour=np.s_[5:15, 5:15, 2:3])), NAMES)
    drawn = pixels(picture.jpeg)
    filled = drawn[np.ptp(drawn, axis=-1) > 40]
    # A third of the colour, more or less, over a grey of 100.
    np.testing.assert_allclose(np.median(filled, axis=0), 0.65 * 100 + 0.35 * np.array(BLUE), atol=6)


def test_a_picture_on_disk(tmp_path):
    Image.new("RGBA", (8, 4), (255, 0, 0, 255)).save(tmp_path / "a.png")
    assert pixels(picture_of(tmp_path / "a.png", "red").jpeg).shape == (4, 8, 3)
