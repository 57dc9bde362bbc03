import numpy as np
from matplotlib.image import imread

from rankseg_med.report import overlay, save_study_overlay, view_study
from rankseg_med.report.overlay import save_overlay


def test_it_is_the_overlay_of_the_turned_volumes(tmp_path):
    """Stored from left to right: drawn as what lies in the order that overlays take."""
    labels = np.zeros((8, 7, 6), np.uint8)
    labels[1:4, 2:4, 2:5], labels[2, 2, 2] = 1, 9
    image = np.indices(labels.shape).sum(0).astype(np.float32)
    missed = np.where(labels == 9, 1, labels).astype(np.uint8)
    view = view_study(labels, np.diag([-2.0, 2.0, 3.0, 1.0]), image, {"prediction": missed})
    save_study_overlay(tmp_path / "study.png", view, {1: "organ"}, heading="reference", title="a")
    low, high = view.grey_values
    upright = {"reference": labels[::-1], "prediction": missed[::-1]}
    save_overlay(
        tmp_path / "by_hand.png",
        # In 8 bits between the ends of what is there.
        low + np.rint((np.clip(image, low, high) - low) * (255 / (high - low)))[::-1] * ((high - low) / 255),
        upright,
        {1: "organ", 9: "label 9"},
        window_hu=view.window,
        spacing_mm=(2.0, 2.0, 3.0),
        title="a",
    )
    study, by_hand = (imread(tmp_path / f"{name}.png") for name in ("study", "by_hand"))
    assert study.shape == by_hand.shape
    assert np.abs(study - by_hand).max() < 0.02


def test_slices_are_counted_in_the_whole_volume(tmp_path, monkeypatch):
    labels = np.zeros((30, 40, 50), np.uint8)
    labels[20, 10, 35] = 1
    view = view_study(labels, np.diag([10.0, 10.0, 10.0, 1.0]))
    assert view.label_map.shape == (7, 7, 7)
    said = []
    monkeypatch.setattr(overlay, "_write_row_label", lambda figure, first, text: said.append(text))
    save_study_overlay(tmp_path / "a.png", view, {}, heading="label map", title="a")
    assert said == ["axial, slice 36 of 50", "coronal, slice 11 of 40", "sagittal, slice 21 of 30"]


def test_without_an_image_it_is_drawn_on_black(tmp_path):
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 1
    save_study_overlay(tmp_path / "a.png", view_study(labels, np.eye(4)), {}, heading="label map", title="a")
    assert imread(tmp_path / "a.png").std() > 0
