import numpy as np
import pytest
from matplotlib.image import imread

from rankseg_med.report.reliability_diagram import ReliabilityCurve, save_reliability_diagrams

CURVE = ReliabilityCurve(np.array([0.1, np.nan, 0.9]), np.array([0.05, np.nan, 0.8]), 0.07)


def test_a_panel_for_each_structure(tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    save_reliability_diagrams(one, {"organ": {"before": CURVE}})
    save_reliability_diagrams(two, {"organ": {"before": CURVE}, "tumour": {"before": CURVE, "after": CURVE}}, title="x")
    heights, widths = zip(imread(one).shape[:2], imread(two).shape[:2], strict=True)
    assert heights[0] == heights[1]
    assert widths[1] == 2 * widths[0]
    assert np.unique(imread(one)[..., :3].reshape(-1, 3), axis=0).shape[0] > 2


@pytest.mark.parametrize("diagrams", [{}, {"organ": {}}, {"organ": {str(number): CURVE for number in range(6)}}])
def test_curves_that_cannot_be_told_apart(tmp_path, diagrams):
    with pytest.raises(ValueError, match="has 1 to 5 curves"):
        save_reliability_diagrams(tmp_path / "diagram.png", diagrams)
