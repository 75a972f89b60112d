"""Which photos `prepare` takes, and whose it says they are."""

from pathlib import Path

import pytest

from restorerid_core.errors import RestorerIDError
from restorerid_core.training.data.sources import SINGLES, find_groups


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_subfolders_are_people_and_the_rest_is_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    names = ("b/2.jpg", "b/10.jpg", "a/x.png", "a/notes.txt", "loose.png")
    found = find_groups([files(tmp_path / "set", *names)])
    assert [(group.name, group.person) for group in found] == [
        ("a", "a"),
        ("b", "b"),
        ("set-0000", None),
    ]
    assert [photo.name for photo in found[1].photos] == ["2.jpg", "10.jpg"]
    assert [photo.name for photo in found[2].photos] == ["loose.png"]
    assert "notes.txt" in caplog.text


def test_unknown_people_are_grouped_in_parts(tmp_path: Path):
    folder = files(tmp_path / "ffhq", *(f"{n:05d}.png" for n in range(2 * SINGLES + 1)))
    found = find_groups([folder])
    assert [len(group.photos) for group in found] == [SINGLES, SINGLES, 1]
    assert [group.name for group in found] == ["ffhq-0000", "ffhq-0001", "ffhq-0002"]


def test_a_list_names_photos_from_its_own_folder_on(tmp_path: Path):
    table = tmp_path / "people.csv"
    table.write_text(
        "\ufeffperson,age,path\nanna,30,x/1.jpg\nben,,2.jpg\nanna,31,3.jpg\n,,4.jpg\n",
        encoding="utf-8",
    )
    found = {group.name: group for group in find_groups([table])}
    assert found["anna"].photos == (tmp_path / "x/1.jpg", tmp_path / "3.jpg")
    assert found["ben"].person == "ben"
    assert found["people-0000"].photos == (tmp_path / "4.jpg",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file,name\na,b\n", "has the columns file, name; expected path and person"),
        ("", "has the columns of an empty file; expected path"),
        ("path,person\na.png,anna\n,ben\n", "line 3, has no path"),
        ("path,person\na.png,../anna\n", r"'\.\./anna' cannot be the name of a folder"),
        ("path,person\na.png,anna\nb.png,Anna\n", "'Anna' comes twice"),
        ("path,person\n", "no photos were found"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(tmp_path: Path, text: str, complaint: str):
    table = tmp_path / "people.csv"
    table.write_text(text)
    with pytest.raises(RestorerIDError, match=complaint):
        find_groups([table])


def test_a_list_that_is_no_text(tmp_path: Path):
    table = tmp_path / "people.csv"
    table.write_bytes(b"path,person\n\xff\xfe,anna\n")
    with pytest.raises(RestorerIDError, match="is not a list of photos"):
        find_groups([table])


def test_a_missing_or_empty_folder(tmp_path: Path):
    with pytest.raises(RestorerIDError, match="cannot be listed"):
        find_groups([tmp_path / "none"])
    (tmp_path / "anna").mkdir()
    with pytest.raises(RestorerIDError, match="no photos were found"):
        find_groups([tmp_path])


def test_two_people_of_one_name(tmp_path: Path):
    inputs = [files(tmp_path / name, "0001/a.png") for name in ("lfw", "vgg")]
    with pytest.raises(RestorerIDError, match="'0001' comes twice"):
        find_groups(inputs)
