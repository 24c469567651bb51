"""What the cache holds, by its files alone: what is in use stays."""

import os
import time

import pytest

from resnetlab import workflows
from resnetlab.cli.main import main
from resnetlab.runs.run import Run
from resnetlab.system.cache import Use, entries, keep, kept, remove

DAY = 86400


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache with three entries of 1,000 bytes, used one, ten and a hundred days ago, and other things."""
    place = tmp_path / "cache"
    place.mkdir()
    monkeypatch.setenv("RESNETLAB_CACHE", str(place))
    for name, days in (("pixels-a-1", 1), ("pixels-a-2", 10), ("features-3", 100)):
        (place / f"{name}.lock").touch()
        for ending, count in ((".bin", 900), (".index", 100)):
            (place / f"{name}{ending}").write_bytes(bytes(count))
            moment = time.time() - days * DAY
            os.utime(place / f"{name}{ending}", (moment, moment))
    (place / "archives").mkdir()
    (place / "format.json").write_text("{}")
    return place


def names(found):
    """Return the names of entries."""
    return [each.base.name for each in found]


def test_entries_are_listed_the_least_recently_used_first(folder):
    found = entries(folder)

    assert names(found) == ["features-3", "pixels-a-2", "pixels-a-1"]
    assert [each.size for each in found] == [1000] * 3
    assert [each.kind for each in found] == ["features", "decoded images", "decoded images"]


def test_what_was_used_last_too_long_ago_is_removed(folder):
    kept, removed = workflows.cache(older_than_s=5 * DAY)

    assert names(removed) == ["features-3", "pixels-a-2"]
    assert names(kept) == ["pixels-a-1"] == names(entries(folder))
    assert (folder / "archives").is_dir()
    assert (folder / "format.json").is_file()


def test_the_least_recently_used_goes_until_the_rest_fits(folder):
    _, removed = workflows.cache(max_bytes=2000)
    assert names(removed) == ["features-3"]

    _, removed = workflows.cache(max_bytes=1999)
    assert names(removed) == ["pixels-a-2"]

    _, removed = workflows.cache(max_bytes=0)
    assert names(removed) == ["pixels-a-1"]


def test_using_an_entry_makes_it_recent_and_keeps_it(folder, tmp_path):
    use = Use(folder / "features-3", tmp_path)

    kept, removed = workflows.cache(max_bytes=0)

    assert names(kept) == ["features-3"]
    assert kept[0].in_use
    assert kept[0].users == (str(tmp_path),)
    assert names(removed) == ["pixels-a-2", "pixels-a-1"]
    del use
    assert remove(folder / "features-3")
    assert not entries(folder)


def test_users_are_named_once_and_only_while_they_are_there(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for user in (run, tmp_path, run):
        Use(folder / "pixels-a-1", user)
    assert entries(folder)[-1].users == (str(run), str(tmp_path))

    run.rmdir()
    assert entries(folder)[-1].users == (str(tmp_path),)


def test_an_empty_and_an_absent_folder_hold_nothing(tmp_path):
    assert entries(tmp_path) == entries(tmp_path / "nowhere") == []


def test_the_verb_prints_what_there_is_and_what_went(folder, capsys):
    assert main(["cache", "--remove-older-than", "5d"]) == 0

    out = capsys.readouterr().out
    assert "yesterday" in out
    assert "decoded images" in out
    assert "removed 2" in out


@pytest.mark.parametrize(
    "flags", [("--max", "50"), ("--max", "5 parsecs"), ("--remove-older-than", "d")]
)
def test_a_size_or_age_that_is_none_is_refused_and_nothing_removed(folder, capsys, flags):
    assert main(["cache", *flags]) == 2
    assert flags[0] in capsys.readouterr().err
    assert len(entries(folder)) == 3


def test_what_is_kept_comes_back_whole_or_not_at_all(tmp_path):
    file = tmp_path / "pixels-a.pairs-3"
    assert kept(file) is None

    for content in (b"", b"pairs"):
        keep(file, content)
        assert kept(file) == content
        written = file.read_bytes()
        for place in range(len(written)):
            file.write_bytes(written[:place] + bytes([written[place] ^ 4]) + written[place + 1 :])
            assert kept(file) is None
            file.write_bytes(written[:place])
            assert kept(file) is None


def test_what_a_run_computes_names_it_as_a_user(folder, tmp_path):
    with Run(tmp_path).held():
        use = Use(folder / "features-3")
    users = {each.base.name: each.users for each in entries(folder)}
    assert users["features-3"] == (str(tmp_path),)
    assert users["pixels-a-1"] == ()
    del use
