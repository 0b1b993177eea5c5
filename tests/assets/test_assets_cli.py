from pathlib import Path

import pytest

from nemo_vtb.assets import CATALOG
from nemo_vtb.cli import main

from .tiny import two_part_asset


def test_list_shows_every_asset_and_where_the_cache_is(cache: Path, capsys: pytest.CaptureFixture):
    assert main(["assets", "list"]) == 0
    out = capsys.readouterr().out
    assert all(f"{asset.download_mb:.0f} MB" in out and asset.hub_id in out for asset in CATALOG.values())
    assert str(cache) in out and "ready" not in out


def test_fetch_prepares_and_list_tells(
    cache: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setitem(CATALOG, "tiny", two_part_asset(shelf))
    assert main(["assets", "fetch", "tiny"]) == 0
    assert str(cache / "models" / "tiny") in capsys.readouterr().out
    main(["assets", "list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if " ready " in line] == ["tiny"]


def test_an_unknown_name_stops_before_anything_is_fetched(cache: Path, capsys: pytest.CaptureFixture):
    assert main(["assets", "fetch", "whisper-tiny.en", "no-such-model"]) == 2
    assert "Unknown asset no-such-model" in capsys.readouterr().err
    assert not cache.exists()
