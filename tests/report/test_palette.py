from rankseg_med.report.palette import hex_colours_of


def test_colours_differ_repeat_and_leave_out_the_background():
    colours = hex_colours_of(range(9))
    assert 0 not in colours
    assert len({colours[label] for label in range(1, 8)}) == 7
    assert colours[8] == colours[1]
    # Of names in any order, the same: vermilion and blue.
    assert hex_colours_of([2, 0, 1]) == {1: "#D65E00", 2: "#0073B3"}
