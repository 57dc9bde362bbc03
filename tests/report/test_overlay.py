import re

import matplotlib.image
import numpy as np
import pytest

from rankseg_med.report.overlay import save_overlay

NAMES = {0: "background", 1: "organ", 2: "tumour"}
ORANGE, BLUE = (0xD6, 0x5E, 0x00), (0x00, 0x73, 0xB3)  # Okabe and Ito's vermilion and blue


@pytest.fixture
def image() -> np.ndarray:
    """A water bath that fills the picture, 80 mm wide in each direction with voxels of 2 x 2 x 8 mm."""
    return np.zeros((40, 40, 10), np.int16)


@pytest.fixture
def labels(image: np.ndarray) -> np.ndarray:
    """A 32 mm cube of organ in the patient's right, front, upper corner, with a 16 mm tumour in the middle of it."""
    labels = np.zeros(image.shape, np.uint8)
    labels[22:38, 22:38, 5:9] = 1
    labels[26:34, 26:34, 6:8] = 2
    return labels


SPACING_MM = (2.0, 2.0, 8.0)


def panels(path, columns: int) -> np.ndarray:
    """The pixels of each panel as `(3 planes, columns, height, width, 3)`, got as the boxes that the CT fills."""
    pixels = (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)
    filled = pixels.max(axis=-1) > 50
    rows, across = (_runs(filled.mean(axis=axis) > 0.8) for axis in (1, 0))
    assert (len(rows), len(across)) == (3, columns)
    size = min(stop - start for start, stop in rows + across)
    return np.array([[pixels[y : y + size, x : x + size] for x, _ in across] for y, _ in rows])


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Start and stop of every stretch of at least 50 true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(start, stop) for start, stop in edges.reshape(-1, 2) if stop - start >= 50]


def coloured(panel: np.ndarray) -> np.ndarray:
    """Pixels that are not grey."""
    return np.ptp(panel, axis=-1) > 20


def test_labels_are_drawn_over_their_own_column_only(tmp_path, image, labels) -> None:
    path = tmp_path / "overlay.png"
    save_overlay(path, image, {"reference": labels, "empty": 0 * labels}, NAMES, spacing_mm=SPACING_MM, title="A case")

    drawn = panels(path, columns=2)
    assert list(tmp_path.iterdir()) == [path]
    for row in drawn:
        assert coloured(row[0]).any()
        assert not coloured(row[1]).any()


def test_the_cube_is_square_and_on_its_side(tmp_path, image, labels) -> None:
    path = tmp_path / "overlay.png"
    save_overlay(path, image, {"reference": labels}, NAMES, spacing_mm=SPACING_MM)

    for (panel,), from_top in zip(panels(path, columns=1), (0.25, 0.3, 0.3), strict=True):
        size = len(panel)
        down, across = (np.flatnonzero(coloured(panel).any(axis=axis)) for axis in (1, 0))
        # Of 80 mm, the cube takes 44 to 76 from the patient's left and from the back, and 40 to 72 from below. Right or
        # front is on the left of the picture, front or up at its top.
        assert np.ptp(across) == pytest.approx(0.4 * size, abs=4)
        assert np.ptp(down) == pytest.approx(0.4 * size, abs=4)
        assert across.mean() == pytest.approx(0.25 * size, abs=4)
        assert down.mean() == pytest.approx(from_top * size, abs=4)


def test_each_label_has_its_colour(tmp_path, image, labels) -> None:
    path = tmp_path / "overlay.png"
    save_overlay(path, image, {"reference": labels}, NAMES, spacing_mm=SPACING_MM)

    axial = panels(path, columns=1)[0, 0]
    for millimetres_from_left, colour in ((60, BLUE), (47, ORANGE)):
        across, down = (round(len(axial) * part) for part in (1 - millimetres_from_left / 80, 1 - 60 / 80))
        grey = 160 / 400 * 255  # 0 HU in the window of -160 to 240
        drawn = axial[down - 2 : down + 3, across - 2 : across + 3].mean(axis=(0, 1))
        np.testing.assert_allclose(drawn, 0.7 * grey + 0.3 * np.array(colour), atol=4)


def test_slices_show_most_of_the_highest_label(tmp_path, image) -> None:
    labels = np.zeros(image.shape, np.uint8)
    labels[:, :, :3] = 1  # much organ below
    labels[10, 20, 8] = labels[10, 20, 9] = labels[11, 20, 9] = 2  # little tumour above, most of it in slice 9
    path = tmp_path / "overlay.png"
    save_overlay(path, image, {"empty": 0 * labels, "found": labels}, NAMES, spacing_mm=SPACING_MM)

    axial = panels(path, columns=2)[0, 1]
    assert 0 < coloured(axial).mean() < 0.02  # the tumour's two voxels, none of the organ


def test_the_picture_is_cropped_to_the_body(tmp_path, image, labels) -> None:
    in_air = np.full((80, 70, 20), -1000, np.int16)
    in_air[30:70, 10:50, 4:14] = image
    labels_in_air = np.zeros(in_air.shape, np.uint8)
    labels_in_air[30:70, 10:50, 4:14] = labels
    for name, ct, label_map in (("plain.png", image, labels), ("in_air.png", in_air, labels_in_air)):
        save_overlay(tmp_path / name, ct, {"reference": label_map}, NAMES, spacing_mm=SPACING_MM)

    np.testing.assert_array_equal(panels(tmp_path / "plain.png", 1), panels(tmp_path / "in_air.png", 1))


@pytest.mark.parametrize("fill", [0, -1000])
def test_empty_maps_show_the_middle(tmp_path, image, fill: int) -> None:
    path = tmp_path / "overlay.png"
    save_overlay(path, image + fill, {"empty": np.zeros(image.shape, np.uint8)}, NAMES, spacing_mm=SPACING_MM)
    assert matplotlib.image.imread(path).ndim == 3


def test_in_a_pdf_text_is_text_and_the_image_is_pixels(tmp_path, image, labels) -> None:
    path = tmp_path / "overlay.pdf"
    with matplotlib.rc_context({"pdf.compression": 0}):
        save_overlay(path, image, {"reference": labels}, NAMES, spacing_mm=SPACING_MM)
    content = path.read_bytes()
    assert content.startswith(b"%PDF")
    # A picture for each plane; its labels' fills are within.
    assert content.count(b"/Subtype /Image") == 3
    written = {b"".join(re.findall(rb"\((.)\)", text)) for text in re.findall(rb"\[([^]]*)\]\s*TJ", content)}
    assert {b"reference", b"organ", b"tumour"} <= written


@pytest.mark.usefixtures("wrong_types")
def test_mismatches_are_refused(tmp_path, image, labels) -> None:
    path = tmp_path / "overlay.png"
    with pytest.raises(ValueError, match=r"'argmax' must have the image's shape \(40, 40, 10\), got \(40, 40, 9\)"):
        save_overlay(path, image, {"argmax": labels[..., 1:]}, NAMES, spacing_mm=SPACING_MM)
    with pytest.raises(ValueError, match=r"image must be \(X, Y, Z\), got shape \(1, 40, 40, 10\)"):
        save_overlay(path, image[None], {"argmax": labels}, NAMES, spacing_mm=SPACING_MM)
    with pytest.raises(ValueError, match=r"'argmax' also has \[2\]"):
        save_overlay(path, image, {"argmax": labels}, {1: "organ"}, spacing_mm=SPACING_MM)
    with pytest.raises(ValueError, match="at least one"):
        save_overlay(path, image, {}, NAMES, spacing_mm=SPACING_MM)
    with pytest.raises(ValueError, match="window_hu"):
        save_overlay(path, image, {"argmax": labels}, NAMES, spacing_mm=SPACING_MM, window_hu=(240, -160))
    with pytest.raises(ValueError, match="spacing_mm"):
        save_overlay(path, image, {"argmax": labels}, NAMES, spacing_mm=(1.0, 1.0, 0.0))
    assert not list(tmp_path.iterdir())
