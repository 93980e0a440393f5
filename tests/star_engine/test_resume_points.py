"""Resume points ahead of the recorded curve are removed, whether files or folders."""

from __future__ import annotations

from pathlib import Path

from star_engine.resume_points import remove_ahead, resume_points


def test_only_what_the_curve_has_reached_is_left(tmp_path: Path) -> None:
    for name in ("step-2", "step-00000010"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text("{}")
    for name in ("step-9.json", "step-11.json", "other.json"):
        (tmp_path / name).write_text("{}")
    remove_ahead(tmp_path, 9)
    assert [path.name for path in resume_points(tmp_path)] == ["step-2", "step-9.json"]
    assert (tmp_path / "other.json").exists()


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    remove_ahead(tmp_path / "none", 0)
    assert resume_points(tmp_path / "none") == []
