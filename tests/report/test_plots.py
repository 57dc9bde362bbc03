import matplotlib.image
import numpy as np
import pytest

from rankseg_med.report.plots import save_agreement, save_box_plots, save_risk_coverage

SCORES = np.array([0.2, 0.9, 0.8])


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_each_is_written_in_the_format_of_its_name(tmp_path, ending):
    paths = [tmp_path / f"{name}.{ending}" for name in ("box", "risk", "agreement")]
    save_box_plots(paths[0], {"leber & $milz$ <b> $\\frac$": SCORES, "肿瘤": SCORES[:1]}, axis="Dice", best=1.0)
    save_risk_coverage(paths[1], {"tumour": 1 - SCORES}, score="Dice")
    save_agreement(paths[2], {"tumour": (SCORES, SCORES[::-1].copy())}, score="Dice")
    start = {"png": b"\x89PNG", "pdf": b"%PDF"}[ending]
    assert all(path.read_bytes().startswith(start) for path in paths)
    assert set(tmp_path.iterdir()) == set(paths)


def test_points_show(tmp_path):
    save_agreement(tmp_path / "some.png", {"tumour": (SCORES, SCORES)}, score="Dice")
    drawn = matplotlib.image.imread(tmp_path / "some.png")[..., :3]
    assert (np.ptp(drawn, axis=-1) > 0.3).any()


def test_nothing_is_cut_off(tmp_path):
    save_box_plots(tmp_path / "box.png", {"tumour": SCORES}, axis="Dice")
    save_risk_coverage(tmp_path / "risk.png", {"tumour": 1 - SCORES}, score="surface Dice")
    save_agreement(tmp_path / "agreement.png", {"tumour": (SCORES, SCORES)}, score="surface Dice")
    for path in tmp_path.iterdir():
        drawn = matplotlib.image.imread(path)[..., :3]
        edges = (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1])
        assert all((edge == 1).all() for edge in edges), path.name


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="at least one number"):
        save_box_plots(tmp_path / "a.png", {"tumour": SCORES[:0]}, axis="Dice")
    with pytest.raises(ValueError, match="at least one study"):
        save_risk_coverage(tmp_path / "a.png", {}, score="Dice")
    with pytest.raises(ValueError, match="at least one structure"):
        save_agreement(tmp_path / "a.png", {}, score="Dice")
    assert not list(tmp_path.iterdir())
