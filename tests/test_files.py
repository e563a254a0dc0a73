from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pcr_rt import files
from pcr_rt.errors import InputError
from pcr_rt.files import GrowingFile


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    given, link = tmp_path / "a.json", tmp_path / "link.json"
    given.write_text("{}")
    link.symlink_to(given)
    for output in (given, tmp_path / "." / "a.json", link):
        with pytest.raises(InputError, match="is read and would be overwritten"):
            files.refuse_inputs(output, tmp_path / "other", given)
    files.refuse_inputs(tmp_path / "b.json", given, tmp_path / "b.json")  # neither exists


def test_a_json_output_is_a_json_file_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    files.check_json_output(tmp_path / "a.json")
    for name in ("a.txt", "folder.json", "nowhere/a.json"):
        with pytest.raises(InputError, match=r"name a \.json file"):
            files.check_json_output(tmp_path / name)


def test_folders_are_made_with_their_parents_or_refused(tmp_path: Path) -> None:
    for _ in range(2):
        files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.c cannot be written"):
        files.make_folder(tmp_path / "file" / "c")


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"yesterday")
    with monkeypatch.context() as patched:

        def replace(self: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(Path, "replace", replace)
        with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
            files.write_whole(path, b"today")
    assert path.read_bytes() == b"yesterday"
    assert list(tmp_path.iterdir()) == [path]
    files.write_whole(path, b"today")
    assert path.read_bytes() == b"today"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
@pytest.mark.parametrize(("asked", "given"), [(0o666, 0o640), (0o600, 0o600)])
def test_permissions_are_those_asked_for_before_the_mask(
    tmp_path: Path, asked: int, given: int
) -> None:
    mask = os.umask(0o027)
    try:
        files.replace_whole(tmp_path / "a", b"secret", permissions=asked, sync=True)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == given


def test_a_growing_file_is_complete_after_every_append(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a"
    file = GrowingFile(path, "[", "]")
    assert path.read_text() == "[]"
    file.append("1,")
    assert path.read_text() == "[1,]"
    file.append("22")
    assert path.read_text() == "[1,22]"
    file.close()
    assert path.read_text() == "[1,22]"
    assert file.closed


def test_a_growing_file_that_cannot_grow_keeps_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after the first half of an append."""
    file = GrowingFile(tmp_path / "a", "[", "]")
    file.append("1")
    write = file._write

    def half(data: bytes) -> None:
        monkeypatch.setattr(file, "_write", write)
        write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file, "_write", half)
    with pytest.raises(InputError, match="No space left on device"):
        file.append(",22222222")
    assert (tmp_path / "a").read_text() == "[1]"
    file.append(",3")
    assert (tmp_path / "a").read_text() == "[1,3]"
    file.close()


def test_an_earlier_runs_file_stays_until_the_first_append(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("yesterday's results " * 1000)
    for path in (old, new):
        GrowingFile(path, "[", "]").close()
    assert old.read_text() == "yesterday's results " * 1000
    assert not new.exists()
    for path in (old, new):
        file = GrowingFile(path, "[", "]")
        assert not file.used
        file.append("1")
        assert file.used
        file.close()
        assert path.read_text() == "[1]"


@pytest.mark.skipif(os.name == "nt", reason="needs a null device that is a file")
def test_a_device_takes_text_and_stays() -> None:
    file = GrowingFile(Path(os.devnull))
    file.append("1")
    file.close()
    GrowingFile(Path(os.devnull)).close()
    assert Path(os.devnull).exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        GrowingFile(tmp_path)
