"""Builds the corpus of real recordings: Asterisk's core prompts in five languages, parallel by key.

    python examples/corpora/build_asterisk_prompts.py --root DEBS --out examples/corpora/asterisk_prompts

DEBS is where ``dpkg-deb -x`` unpacked Debian's ``asterisk-core-sounds-{en,es,fr,it,ru}`` (the transcripts) and
``asterisk-core-sounds-{en,es,fr,it,ru}-g722`` (the audio). Needs ffmpeg with libopus. Clips that exist already are
kept, so it resumes; the same packages give the same clips and the same manifest.
"""

import argparse
import gzip
import json
import re
import subprocess
from collections import defaultdict
from difflib import SequenceMatcher
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np
import soundfile
from said.words import MIN_WORDS, NEAR_DUPLICATE, word_list
from tqdm import tqdm

from nemo_vtb.errors import VTBError
from nemo_vtb.whole_files import write_rows

SAMPLE_RATE = 16_000
VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
MAX_SECONDS = 30.0  # the window of a Whisper encoder; longer clips make a split of their own
WORDS_PER_SECOND = (0.25, 6.0)
SPLITS = (("train", 0.80), ("dev", 0.88), ("test", 1.0))  # upper ends on the unit interval
LONG = "long"

RENAMED = {"confbridge-lock-out-0": "confbridge-lock-out"}  # transcript key -> key of its recording
TABLES = Path(__file__).parent / "asterisk_prompts"
SPELLING = TABLES / "spelling.json"  # misspelt words and lost accents by language
CORRECTIONS = TABLES / "corrections.jsonl"  # texts that differ from their recording


def clean(text: str, spelling: dict[str, str]) -> str:
    """What is spoken: no bracketed notes, no ellipses at the ends, no unpaired quotes, single spaces, right spelling.

    Args:
        text: one transcript.
        spelling: right spelling of whole lower-case words or phrases; a capital at the start is kept.
    """
    text = re.sub(r"\[[^]]*\]|\([^)]*\)|<[^>]*>", " ", text)
    if text.count('"') % 2:
        text = text.replace('"', "")
    text = re.sub(r"(?<=[.:;])(?=[A-ZА-Я])", " ", text)
    text = re.sub(r"^[\s.…]+|\s*(\.\.+|…)\s*$|(?<=:):+$", "", " ".join(text.split()))
    for wrong, right in spelling.items():
        pattern = rf"(?<![\w?]){re.escape(wrong)}(?!\w)"
        text = re.sub(pattern, lambda m, r=right: r[0].upper() + r[1:] if m[0][0].isupper() else r, text, flags=re.I)
    return re.sub(r"\s+([.,?!])", r"\1", text)


def read_transcripts(path: Path, recorded: set[str], spelling: dict[str, str]) -> dict[str, str]:
    """Reads ``key: text`` lines into cleaned texts by the key of the recording; the first text of a key counts.

    Args:
        path: gzipped transcript file, UTF-8; lines starting with ``;`` are comments.
        recorded: keys that have audio. One of them, with a dash or slash and a colon, starts a new entry inside a
            line too, as a few line breaks are missing; a transcript key may differ from it in case.
        spelling: see ``clean``.
    """
    by_case = {key.casefold(): key for key in recorded}
    inner = "|".join(sorted((re.escape(key) for key in recorded if re.search("[-/]", key)), key=len, reverse=True))
    entry_start = re.compile(rf"(?<![\w/-])({inner}):")
    texts: dict[str, str] = {}
    for line in gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines():
        if line.startswith(";") or ":" not in line:
            continue
        first_key, rest = line.split(":", 1)
        parts = [first_key.strip(), *entry_start.split(rest)]
        for key, text in zip(parts[::2], parts[1::2], strict=True):
            key = RENAMED.get(key, key)
            if key not in recorded:
                key = by_case.get(key.casefold(), key)
            if text.strip():
                texts.setdefault(key, clean(text, spelling))
    return texts


def correct(texts: dict[str, dict[str, str]], path: Path) -> None:
    """Replaces, in place, the texts that listening found to differ from their recording.

    Args:
        texts: texts by language and key.
        path: rows of ``lang``, ``key``, ``was`` (the cleaned transcript) and ``text`` (what is spoken).

    Raises:
        VTBError: the transcript is no longer what the row says it was.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        found = texts[row["lang"]].get(row["key"])
        if found != row["was"]:
            raise VTBError(f"{path}:{number}: the transcript of {row['key']} now reads {found!r}; mend this row")
        texts[row["lang"]][row["key"]] = row["text"]


def split_by_key(texts: dict[str, dict[str, str]], keys: list[str]) -> dict[str, str]:
    """Assigns train, dev or test to each key by a hash, the same in all languages.

    Keys whose texts are equal or nearly equal in any language share a split, so no test sentence was trained on.

    Args:
        texts: texts by language and key.
        keys: keys to assign.
    """
    group = {key: key for key in keys}

    def root(key: str) -> str:
        while group[key] != key:
            key = group[key]
        return key

    for by_key in texts.values():
        words = {key: word_list(by_key[key]) for key in keys if key in by_key}
        for (key_a, a), (key_b, b) in combinations(words.items(), 2):
            close = a == b
            if not close and min(len(a), len(b)) >= MIN_WORDS:
                matcher = SequenceMatcher(None, a, b, autojunk=False)
                close = matcher.quick_ratio() >= NEAR_DUPLICATE and matcher.ratio() >= NEAR_DUPLICATE
            if close:
                low, high = sorted((root(key_a), root(key_b)))
                group[high] = low
    point = {key: int(sha256(root(key).encode()).hexdigest()[:12], 16) / 16**12 for key in keys}
    return {key: next(split for split, end in SPLITS if point[key] < end) for key in keys}


def decode(path: Path) -> np.ndarray:
    """Decodes a G.722 file to float32 mono samples, shape ``[time]``, at ``SAMPLE_RATE``."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "g722", "-i", path]
    command += ["-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, dtype=np.float32)


def trimmed(audio: np.ndarray, floor: float = 0.01, margin: float = 0.1) -> np.ndarray:
    """Cuts both ends where 20 ms frames stay below ``floor`` of the loudest, keeps ``margin`` s; peak becomes 0.7."""
    frame = SAMPLE_RATE // 50
    frames = np.pad(audio, (0, -len(audio) % frame)).reshape(-1, frame)
    rms = np.sqrt((frames**2).mean(axis=1))
    loud = np.flatnonzero(rms > floor * rms.max())
    pad = int(margin * SAMPLE_RATE)
    audio = audio[max(0, loud[0] * frame - pad) : (loud[-1] + 1) * frame + pad]
    return audio * (0.7 / np.abs(audio).max())


def encode(path: Path, audio: np.ndarray) -> None:
    """Writes Ogg/Opus, 24 kbit/s; ffmpeg rather than soundfile, whose random stream numbers differ by run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    command = ["ffmpeg", "-v", "error", "-y", "-f", "f32le", "-ac", "1", "-ar", str(SAMPLE_RATE), "-i", "-"]
    command += ["-c:a", "libopus", "-b:a", "24k", "-flags", "+bitexact", "-fflags", "+bitexact", "-f", "ogg", partial]
    subprocess.run(command, check=True, input=audio.astype(np.float32).tobytes())
    partial.rename(path)


def implausible(seconds: float, words: int) -> str | None:
    """Says why a transcript of so many words cannot belong to so many seconds of audio; None if it can."""
    low, high = WORDS_PER_SECOND
    if not low <= words / seconds <= high:
        return f"{words / seconds:.2f} words/s, outside {low:g} to {high:g}"
    return None


def load(root: Path) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, Path]]]:
    """Returns texts and paths of recordings, both by language and key.

    Raises:
        VTBError: a package is not unpacked under ``root``.
    """
    spelling = json.loads(SPELLING.read_text(encoding="utf-8"))
    texts, recordings = {}, {}
    for lang, voice in VOICES.items():
        folder = root / "usr/share/asterisk/sounds" / voice
        package = f"asterisk-core-sounds-{lang}"
        transcripts = root / f"usr/share/doc/{package}/core-sounds-{lang}.txt.gz"
        recordings[lang] = {str(p.relative_to(folder).with_suffix("")): p for p in sorted(folder.rglob("*.g722"))}
        if not recordings[lang] or not transcripts.exists():
            raise VTBError(f"{folder} or {transcripts} is missing: unpack {package} and {package}-g722 into {root}")
        texts[lang] = read_transcripts(transcripts, set(recordings[lang]), spelling[lang])
    correct(texts, CORRECTIONS)
    return texts, recordings


def choose(texts: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    """Returns (language, key) of every sentence of ``MIN_WORDS`` or more and of its counterparts in the others."""
    chosen = []
    for lang, by_key in texts.items():
        for key in sorted(by_key):
            counts = [len(word_list(texts[tongue].get(key, ""))) for tongue in ("en", lang)]
            # Italian describes the beeps in plain words; the English brackets say of every key whether it is speech.
            speech = counts[1] > 0 and (counts[0] > 0 or key not in texts["en"])
            if speech and max(counts) >= MIN_WORDS:
                chosen.append((lang, key))
    return chosen


def translations(rows: list[dict]) -> list[dict]:
    """Speech-translation rows into English: every clip of another language whose key has an English prompt."""
    rows = [row for row in rows if row["split"] != LONG]
    english = {row["key"]: row["text"] for row in rows if row["lang"] == "en"}
    return [
        {**row, "source_lang": row["lang"], "target_lang": "en", "answer": english[row["key"]]}
        for row in rows
        if row["lang"] != "en" and row["key"] in english
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of the unpacked Debian packages")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    texts, recordings = load(args.root)
    chosen = choose(texts)
    splits = split_by_key(texts, sorted({key for _, key in chosen}))
    rows, left_out = [], []
    for lang, key in tqdm(chosen, unit="clip"):
        text = texts[lang][key]
        path = args.out / "audio" / lang / f"{key}.ogg"
        reason = None
        if key not in recordings[lang]:
            reason = "no recording"
        elif path.exists():
            reason = implausible(soundfile.info(path).duration, len(word_list(text)))
        else:
            audio = trimmed(decode(recordings[lang][key]))
            reason = implausible(len(audio) / SAMPLE_RATE, len(word_list(text)))
            if reason is None:
                encode(path, audio)
        if reason is not None:
            left_out.append({"lang": lang, "key": key, "reason": reason, "text": text})
            continue
        seconds = soundfile.info(path).duration
        rows.append(
            {
                "audio_filepath": str(path.relative_to(args.out)),
                "duration": round(seconds, 3),
                "text": text,
                "lang": lang,
                "speaker": VOICES[lang],
                "key": key,
                "split": splits[key] if seconds <= MAX_SECONDS else LONG,
            }
        )
    write_rows(args.out / "manifest.jsonl", rows)
    write_rows(args.out / "ast.jsonl", translations(rows))
    write_rows(args.out / "left_out.jsonl", left_out)
    cells = defaultdict(list)
    for row in rows:
        cells[row["lang"], row["split"]].append(row["duration"])
    for (lang, split), seconds in cells.items():
        print(f"{lang} {split}: {len(seconds)} clips, {sum(seconds) / 60:.1f} min")
    print(f"left out: {len(left_out)}, see {args.out / 'left_out.jsonl'}")


if __name__ == "__main__":
    main()
