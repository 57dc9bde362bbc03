import pytest

from rankseg_med.report import TextTable, as_latex


def test_a_table_by_hand():
    table = TextTable(
        "Scores", ("region", "Dice"), (("tumour", "0.5"), ("liver", "0.9")), numbers_from=1, note="Means."
    )
    assert as_latex([table]) == (
        "\\begin{table}\n"
        "\\centering\n"
        "\\caption{Scores. Means.}\n"
        "\\begin{tabular}{lr}\n"
        "\\toprule\n"
        "region & Dice \\\\\n"
        "\\midrule\n"
        "tumour & 0.5 \\\\\n"
        "liver & 0.9 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\end{table}\n"
    )


def test_names_cannot_become_commands():
    table = TextTable("t", ("case", "gain"), (("a_b & 5 % \\input{x}\n$~^", "< 0.1 | > 2 #"),), numbers_from=1)
    (row,) = (line for line in as_latex([table]).splitlines() if line.startswith("a"))
    assert row == (
        r"a\_b \& 5 \% \textbackslash{}input\{x\} \$\textasciitilde{}\textasciicircum{} & "
        r"\textless{} 0.1 \textbar{} \textgreater{} 2 \# \\"
    )


@pytest.mark.parametrize(("name", "written"), [("[b]", "{[}b]"), ("*b", "{*}b")])
def test_how_a_row_begins_is_no_option_of_the_line_above(name, written):
    table = TextTable("t", ("case", "gain"), (("a", "1"), (name, "2")), numbers_from=1)
    assert f"\n{written} & 2 \\\\\n" in as_latex([table])


def test_no_table():
    assert as_latex([]) == "\n"
