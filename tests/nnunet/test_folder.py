"""Which model, which folds."""

import pytest

from rankseg_med.nnunet import ModelFolder, NnunetError


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "Dataset001_Tiny" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    for fold in ("fold_0", "fold_3", "fold_all", "fold_x"):
        (folder / fold).mkdir(parents=True)
        (folder / fold / "checkpoint_final.pth").touch()
    (folder / "fold_3" / "checkpoint_best.pth").touch()
    (folder / "plans.json").touch()
    return folder


@pytest.mark.parametrize(
    ("folds", "names"),
    [(None, ["fold_0", "fold_3"]), ([3], ["fold_3"]), (["all"], ["fold_all"]), ([3, 0], ["fold_3", "fold_0"])],
)
def test_folds(model, folds, names):
    found = ModelFolder.find(model, folds)
    assert [path.parent.name for path in found.checkpoints] == names
    assert [path.name for path in found.files[:2]] == ["dataset.json", "plans.json"]


def test_the_network_of_all_cases_where_there_is_no_other(model):
    for fold in ("fold_0", "fold_3"):
        (model / fold / "checkpoint_final.pth").unlink()
    assert [path.parent.name for path in ModelFolder.find(model).checkpoints] == ["fold_all"]


@pytest.mark.parametrize("folds", [[1], [0, 0], [], ["best"]])
def test_folds_that_are_not_there(model, folds, wrong_types):
    with pytest.raises(NnunetError, match=r"have a checkpoint_final.pth \(0, 3, all\), got"):
        ModelFolder.find(model, folds)


def test_another_checkpoint(model):
    assert ModelFolder.find(model, checkpoint="checkpoint_best.pth").checkpoints == (
        model / "fold_3" / "checkpoint_best.pth",
    )


def test_a_data_sets_folder(model):
    assert ModelFolder.find(model.parent).path == model
    other = model.parent / "nnUNetTrainer__nnUNetPlans__2d"
    other.mkdir()
    (other / "plans.json").touch()
    assert ModelFolder.find(model.parent, configuration="3d_fullres").path == model
    with pytest.raises(NnunetError, match=r"must hold one model, got .*__2d, .*__3d_fullres"):
        ModelFolder.find(model.parent)
    with pytest.raises(NnunetError, match="one model of configuration 3d_lowres, got"):
        ModelFolder.find(model.parent, configuration="3d_lowres")


def test_no_model(tmp_path):
    with pytest.raises(NnunetError, match=r"a folder without plans\.json"):
        ModelFolder.find(tmp_path)
