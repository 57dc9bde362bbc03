"""What is said where nnU-Net is not installed."""

import pytest

from rankseg_med.decode import ArgmaxDecoder
from rankseg_med.nnunet import NnunetError, NnunetModel


def test_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NnunetError, match=r"nnunetv2, which is not installed: pip install 'rankseg_med\[nnunet\]'"):
        NnunetModel.load(tmp_path, ArgmaxDecoder())
