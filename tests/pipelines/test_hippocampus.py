"""The recipe with few and with many labels, on random volumes."""

import re

import pytest

from tests.pipelines.made_data import make_images


@pytest.mark.slow
def test_both_decoders_are_scored_on_what_is_held_out(run_recipe, tmp_path, capsys):
    make_images(tmp_path / "data", [f"case_{number}" for number in range(10)])
    options = ["--labelled", 2, 4, "--epochs", 1]

    def run():
        commands = run_recipe("hippocampus.py", tmp_path / "data", tmp_path / "work", *options, configs={})
        return [command[0] for command in commands]

    scored = ["predict", "evaluate"] * 2
    assert run() == ["manifest", *["train", *scored] * 2]
    for labelled in (2, 4):
        for decoder in ("argmax", "dice"):
            predicted = (tmp_path / "work" / f"labelled_{labelled}" / f"predictions_{decoder}").glob("*.nii.gz")
            # A fold of five.
            assert len(list(predicted)) == 2
    rows = re.findall(r"│ (2|4) +│ (\w+)", capsys.readouterr().out)
    assert rows == [(labelled, name) for labelled in "24" for name in ("anterior", "posterior", "mean")]
    assert run() == scored * 2, "what is trained is trained"
    (tmp_path / "data" / "images" / "case_9.nii.gz").unlink()
    with pytest.raises(SystemExit, match="lists other images than"):
        run()
