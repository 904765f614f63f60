"""Markdown and LaTeX of a small grid, written out by hand."""

from mmsa_lightning.report.grid import Grid

GRID = Grid("Of 100 %.", ["", "Δ MAE"], [["bi_uni", "1.00 ± 0.10"], ["a & b > c", "−2.00†"]], bold={(1, 1)})


def test_markdown():
    assert GRID.markdown() == (
        "Of 100 %.\n\n|  | Δ MAE |\n| --- | ---: |\n| bi_uni | 1.00 ± 0.10 |\n| a & b > c | **−2.00†** |\n"
    )


def test_latex():
    assert GRID.latex().splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Of 100 \%.}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r" & $\Delta$ MAE \\",
        r"\midrule",
        r"bi\_uni & 1.00 $\pm$ 0.10 \\",
        r"a \& b $>$ c & \textbf{$-$2.00$^\dagger$} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
