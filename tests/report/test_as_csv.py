import csv
from io import StringIO

from rankseg_med.report import TextTable, as_csv


def test_cells_come_back_as_one_line_each():
    table = TextTable("t", ("case", "p\nHolm"), (('a,"b"', "> 0: 1/2/3,\n> 1: 0/6/0"), ("c", "-")), note="n")
    text = as_csv(table)
    assert text.splitlines()[0] == "case,p Holm"
    assert list(csv.reader(StringIO(text)))[1:] == [['a,"b"', "> 0: 1/2/3, > 1: 0/6/0"], ["c", "-"]]
