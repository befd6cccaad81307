"""The folder of a run: nothing is lost, mixed or taken for data."""

from __future__ import annotations

import pytest

from nnmed.errors import DataError, UsageError
from nnmed.jobs.run_folder import CONFIG, RunFolder


def finished(path):
    folder = RunFolder(path, "detect")
    folder.open({"seed": 0})
    (path / "phantoms").mkdir()
    (path / "phantoms" / "0.dcm").write_text("old")
    (path / "link").symlink_to(path.parent)
    folder.close()
    return path


def test_a_run_is_not_replaced_unless_told(tmp_path):
    out = finished(tmp_path / "out")
    with pytest.raises(UsageError, match="--overwrite"):
        RunFolder(out, "detect")
    folder = RunFolder(out, "detect", overwrite=True)
    assert (out / "phantoms" / "0.dcm").exists()  # nothing happens before open()
    folder.open({"seed": 1})
    assert [path.name for path in out.iterdir()] == [CONFIG]
    assert folder.config() == {"seed": 1}
    assert tmp_path.is_dir()  # the link was removed, not what it named


def test_going_on_keeps_what_is_there(tmp_path):
    folder = RunFolder(finished(tmp_path / "out"), "detect", resume=True)
    folder.open({"seed": 1})
    assert folder.config() == {"seed": 0}
    assert (tmp_path / "out" / "phantoms" / "0.dcm").exists()


@pytest.mark.parametrize("flags", [{"overwrite": True}, {"resume": True}])
def test_folders_that_are_no_runs_are_spared(tmp_path, flags):
    (tmp_path / "chapter.tex").write_text("years of work")
    with pytest.raises(UsageError, match="no run of nnmed"):
        RunFolder(tmp_path, "detect", **flags)
    assert (tmp_path / "chapter.tex").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="is a file"):
        RunFolder(tmp_path / "out", "detect")
    with pytest.raises(DataError, match="cannot be used"):
        RunFolder(tmp_path / "out" / "inner", "detect").open({})


def test_one_run_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    first, second = RunFolder(tmp_path / "out", "detect"), RunFolder(tmp_path / "out", "detect")
    first.open({})
    with pytest.raises(UsageError, match="another run is writing"):
        second.open({})
    with pytest.raises(UsageError, match="another run is writing"):
        RunFolder(tmp_path / "out", "detect", resume=True).open({})
    first.close()
    RunFolder(tmp_path / "out", "detect", resume=True).open({})


def test_a_run_that_came_in_between_is_not_mixed_with_another(tmp_path):
    first, second = RunFolder(tmp_path / "out", "detect"), RunFolder(tmp_path / "out", "detect")
    first.open({})
    first.close()
    with pytest.raises(UsageError, match="holds files already"):
        second.open({})


def test_new_folders_are_numbered_when_they_are_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [RunFolder(None, "detect") for _ in range(2)]
    for folder in folders:
        folder.open({})
    assert [folder.path.name for folder in folders] == ["detect-1", "detect-2"]


def test_results_do_not_become_data(tmp_path, monkeypatch):
    data = tmp_path / "images"
    data.mkdir()
    sources = [("--data", data)]
    for out in (data, data / "results"):
        with pytest.raises(UsageError, match="inside of --data"):
            RunFolder(out, "detect", sources=sources)
    monkeypatch.chdir(data)
    with pytest.raises(UsageError, match="inside of --data"):
        RunFolder(None, "detect", sources=sources)


def test_overwriting_does_not_remove_the_data(tmp_path):
    out = finished(tmp_path / "out")
    with pytest.raises(UsageError, match="would remove --data"):
        RunFolder(out, "detect", overwrite=True, sources=[("--data", out / "phantoms")])
    RunFolder(out, "detect", resume=True, sources=[("--data", out / "phantoms")])


def test_what_a_killed_process_left_is_removed(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".config.json.123.tmp").write_text("{")
    RunFolder(out, "detect", resume=True).open({"seed": 0})
    assert [path.name for path in out.iterdir()] == [CONFIG]


def test_a_damaged_description_is_a_data_error(tmp_path):
    out = finished(tmp_path / "out")
    (out / CONFIG).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        RunFolder(out, "detect", resume=True).config()
