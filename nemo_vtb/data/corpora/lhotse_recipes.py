"""Corpora that Lhotse has a recipe for: its recordings and supervisions as rows."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nemo_vtb.data.corpora.rows import Asked, Row, some
from nemo_vtb.data.row_forms.languages import language_tag
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line

_MLS = {"english": "en", "german": "de", "dutch": "nl", "french": "fr", "spanish": "es", "italian": "it",
        "portuguese": "pt", "polish": "pl"}  # fmt: skip


def librispeech(asked: Asked) -> Iterator[Row]:
    """LibriSpeech: ``LibriSpeech/<part>/<speaker>/<chapter>/*.flac`` and ``*.trans.txt``."""
    from lhotse.recipes import prepare_librispeech

    root = asked.folder / "LibriSpeech" if (asked.folder / "LibriSpeech").is_dir() else asked.folder
    parts = [path.name for path in some(root, "*-*") if path.is_dir()]
    found = _run(lambda: prepare_librispeech(root, dataset_parts=parts), asked)
    for part, manifests in found.items():
        yield from _rows(part, manifests, "en")


def mls(asked: Asked) -> Iterator[Row]:
    """Multilingual LibriSpeech: ``mls_<language>[_opus]/<split>/transcripts.txt`` and ``audio/``."""
    from lhotse.recipes.mls import prepare_mls

    opus = any(path.name.endswith("_opus") for path in some(asked.folder, "mls_*"))
    found = _run(lambda: prepare_mls(asked.folder, opus=opus), asked)
    for language, splits in found.items():
        tag = _MLS.get(language, language)
        if asked.wants(tag):
            for split, manifests in splits.items():
                yield from _rows(split, manifests, tag)


def common_voice(asked: Asked) -> Iterator[Row]:
    """Common Voice: ``<language>/{train,dev,test}.tsv`` and ``<language>/clips``."""
    from lhotse.recipes.commonvoice import prepare_commonvoice

    there = [path.parent.name for path in some(asked.folder, "*/train.tsv", "*/test.tsv")]
    for language in filter(asked.wants, there):
        kept = asked.out / "lhotse"
        splits = [split for split in ("train", "dev", "test") if (asked.folder / language / f"{split}.tsv").is_file()]
        found = _run(lambda: prepare_commonvoice(asked.folder, kept, language, splits), asked)  # noqa: B023
        for split, manifests in found[language].items():
            yield from _rows(split, manifests, language)


def fleurs(asked: Asked) -> Iterator[Row]:
    """FLEURS: ``metadata/<language>/<split>.tsv`` and ``<language>/audio/<split>/*.wav``."""
    from lhotse.recipes.fleurs import prepare_fleurs

    there = [path.parent.name for path in some(asked.folder, "metadata/*/test.tsv")]
    wanted = [name for name in there if asked.wants(name.replace("_", "-")) or asked.wants(name)]
    found = _run(lambda: prepare_fleurs(asked.folder, asked.out / "lhotse", wanted), asked)
    for name, splits in found.items():
        for split, manifests in splits.items():
            # FLEURS names regions, of which it has one for each language.
            yield from _rows(split, manifests, language_tag(name.partition("_")[0]) or name)


def _run(recipe: Callable[[], Any], asked: Asked) -> Any:
    """A recipe's manifests; what it stumbles over is a copy that is not as published."""
    try:
        return recipe()
    except VTBError:
        raise
    except Exception as error:
        raise VTBError(
            f"Lhotse's recipe cannot read {asked.folder}: {type(error).__name__}: {first_line(error)}"
        ) from error


def _rows(split: str, manifests: Mapping[str, Any], language: str) -> Iterator[Row]:
    recordings = {recording.id: recording for recording in manifests["recordings"]}
    for segment in manifests["supervisions"]:
        recording = recordings[segment.recording_id]
        fields = {"id": segment.id, "audio_filepath": str(Path(recording.sources[0].source).absolute())}
        if segment.duration < recording.duration - 0.01:
            fields["offset"] = segment.start
        fields |= {"duration": round(segment.duration, 3), "text": segment.text, "lang": language}
        if segment.speaker:
            fields["speaker"] = str(segment.speaker)
        yield Row(split, "asr", fields)
