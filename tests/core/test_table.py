"""Tables: means with their intervals, and what is written comes back."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from restorerid_core.errors import RestorerIDError
from restorerid_core.evaluation import table
from restorerid_core.evaluation.meter import METRICS
from restorerid_core.evaluation.table import Mean, Row, csv_text, read_csv, texts, to_csv
from restorerid_core.evaluation.table_picture import draw_table
from restorerid_core.markdown import to_markdown
from restorerid_core.training.data.prepare import Record
from restorerid_core.training.data.report import to_people_csv, to_photos_csv
from restorerid_core.training.data.sources import Group

SCORES = [
    {"PSNR": 20.0, "SSIM": 0.5, "LMSE": None, "ID": 0.1},
    {"PSNR": 22.0, "SSIM": 0.6, "LMSE": 4.0, "ID": 0.2},
    {"PSNR": 27.0, "SSIM": 0.7, "LMSE": 6.0, "ID": 0.6},
] * 3
ROWS = [Row.of("light", "LQ & raw_1", SCORES), Row.of("heavy", "λ by MUSIQ", SCORES[:1])]


def test_mean_and_interval_of_known_values():
    mean = Mean.of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean.value == 3
    assert mean.half_width == pytest.approx(2.7764 * math.sqrt(2.5 / 5), rel=1e-4)  # t(4, 0.975)
    for few in ([7.0], [5.5, 610.58], [1.0, 2.0, 3.0, 4.0]):
        assert math.isnan(Mean.of(few).half_width)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    means = [Mean.of(list(sample)) for sample in rng.normal(3, 2, (4000, 6))]
    covered = np.mean([abs(mean.value - 3) <= mean.half_width for mean in means])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_cells_say_what_is_missing():
    header, cells = texts(ROWS)
    assert header[2:4] == ["PSNR ↑", "SSIM ↑"]
    first, second = (dict(zip(METRICS, row[2:], strict=False)) for row in cells)
    assert first["PSNR"].startswith("23.00 ± ")
    assert first["LPIPS"] == "–"
    assert first["LMSE"].startswith("5.00 ± ") and first["LMSE"].endswith(" (6 of 9)")
    assert second["ID"] == "0.100"
    assert len(header) == 8
    header, cells = texts([*ROWS, Row.of("light", "small", [{"ID (dlib)": 0.95}])])
    assert header[-1] == "ID (dlib) ↑" and [row[-1] for row in cells] == ["–", "–", "0.950"]


def test_markdown_has_a_cell_for_each_column():
    lines = to_markdown(*texts(ROWS), 2).splitlines()
    assert {line.count("|") for line in lines} == {9}
    assert lines[1].startswith("| --- | --- | ---: |")


@pytest.mark.parametrize("name", ["a|b", "<img src=x>", "[x](https://example.org)", "a\nb", "*a*"])
def test_names_are_no_markdown(name: str):
    lines = to_markdown(["method", "PSNR"], [[name, "1"]], 1).splitlines()
    assert len(lines) == 3
    assert len(re.findall(r"(?<!\\)\|", lines[2])) == 3
    assert not re.search(r"<|(?<!\\)[\[*]", lines[2])


def test_names_are_no_formulas_of_a_spreadsheet():
    assert csv_text('=HYPERLINK("https://example.org")') == '\'=HYPERLINK("https://example.org")'
    assert [csv_text(cell) for cell in ("Anna", "", -1.5, None)] == ["Anna", "", -1.5, None]
    row = Row("@light", "+mine", {"PSNR": Mean(-1.0, 0.5, 2)})
    assert to_csv([row]).splitlines()[1] == "'@light,'+mine,PSNR,-1.0,0.5,2"
    photos = {Group("=1", "=1", ()): [Record("/photos/a.png", detail="-x")]}
    assert to_people_csv(photos).splitlines()[1].startswith("'=1,1,0")
    assert "'=1,/photos/a.png" in to_photos_csv(photos)


def test_single_images_and_their_mean():
    _, cells = table.image_texts(SCORES)
    assert [row[0] for row in cells] == [*"123456789", "mean of 9"]
    assert cells[0][1:3] == ["20.00", "0.500"]
    assert cells[9][5].endswith("(6 of 9)")
    assert len(table.image_texts(SCORES[:1])[1]) == 1


def test_csv_comes_back(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text(to_csv(ROWS), encoding="utf-8")
    again = read_csv(path)
    assert again[0] == ROWS[0]
    assert to_csv(again) == to_csv(ROWS)


HEADER = "degradation,method,metric,mean,half_width,pictures\n"


@pytest.mark.parametrize(
    "text",
    [None, "", "\0", "degradation,method\na,b\n", HEADER + "a,b,PSNR,many,,\n", HEADER + "a,b\n"],
)
def test_another_file_is_no_table(tmp_path: Path, text: str | None):
    path = tmp_path / "table.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RestorerIDError, match=r"table\.csv' cannot be read as a table"):
        read_csv(path)


def test_latex_is_escaped_and_balanced():
    text = table.to_latex(ROWS)
    assert r"LQ \& raw\_1" in text and r"$\lambda$ by MUSIQ" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in body} == {7}
    assert text.count(r"\hline") == 4
    assert text.isascii()


def test_picture_grows_with_the_table():
    header, cells = texts(ROWS)
    picture = draw_table(header, cells)
    assert picture.shape[1] == 3 * 44
    assert draw_table(header, cells[:1]).shape[1] == 2 * 44
    ink = (picture < 0.5).any(0)
    assert all(ink[row * 44 : row * 44 + 40].any() for row in range(3))
    with pytest.raises(RestorerIDError, match="the table has 400 rows"):
        draw_table(header, cells * 200)
