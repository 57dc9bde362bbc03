import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankseg_med.runs.shard import Shard


@given(st.lists(st.integers(), max_size=30), st.integers(1, 12))
def test_shards_are_the_whole_list_once(cases, of):
    parts = [Shard(number, of).of_cases(cases) for number in range(1, of + 1)]
    assert sorted(case for part in parts for case in part) == sorted(cases)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_written_and_read():
    assert Shard.parse("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"
    assert Shard(2, 3).of_cases("abcdefg") == ["b", "e"]


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "2/", "-1/3", "a/b", "1/0", "1/2/3", ""])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="a shard is given as K/N"):
        Shard.parse(text)
