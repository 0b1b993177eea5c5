"""One unit for each kind of number in every committed result, as ``nemo_vtb.reports`` says."""

import json
import re

import pytest

from nemo_vtb.paths import corpora_dir

_RESULTS = corpora_dir().parent / "benchmarks" / "results"
_FILES = sorted(_RESULTS.rglob("*.json"))
# Keys of shares and accuracies, and of errors, which may be above 1; a config repeated in a result is no result.
_SHARE = re.compile(r"(_|^)(share|accuracy|acc|em|f1|correct|score|right|chance)(_|$|/)|text_(score|drop)|^mfu$")
_ERROR = re.compile(r"^(wer|cer)($|/)")


def _numbers(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in ("settings", "environment", "setting", "corpus", "drops", "n"):
                yield from _numbers(item, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


@pytest.mark.parametrize("file", _FILES, ids=lambda file: str(file.relative_to(_RESULTS)))
def test_shares_are_fractions_and_errors_are_no_percentages(file):
    for path, value in _numbers(json.loads(file.read_text(encoding="utf-8"))):
        if any(key.endswith("_points") for key in path) or "redundancy" in path:
            continue
        if any(map(_ERROR.search, path)):
            assert -20 < value < 20, (path, value)
        elif any(map(_SHARE.search, path)):
            assert -1 <= value <= 1, (path, value)


def test_the_kinds_of_numbers_are_all_met():
    met = {key for file in _FILES for path, _ in _numbers(json.loads(file.read_text(encoding="utf-8"))) for key in path}
    assert {"score_before", "realised_share", "accuracy", "em", "wer", "padding_share", "share_error_points"} <= met
