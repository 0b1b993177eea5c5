"""The published layouts of benchmarks whose rows may be conversations of several rounds."""

from collections.abc import Iterator
from pathlib import Path

from nemo_vtb.data.corpora.rows import records, some
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.public.files import clip_of
from nemo_vtb.evaluation.public.files import field as take
from nemo_vtb.evaluation.public.layouts import Answered, Question, options_in

# What URO-Bench's archive calls sets that the hub calls otherwise.
_URO_ZIPPED = {
    **{f"{name}Eval": f"{name.lower()}_test" for name in ("Wildchat", "Storal", "Truthful", "Gaokao", "Gsm8k")},
    **{
        name: f"{name.lower()}_test"
        for name in ("AlpacaEval", "CommonEval", "Summary", "MLC", "Repeat", "Multilingual")
    },
    **{"MtBenchEval-en": "mt_test", "SpeakerAware-en": "mtpro_en", "SpeakerAware-zh": "mtpro_zh"},
    **{f"SRT-{lang}": f"SRT_{lang}" for lang in ("en", "zh")},
}
_URO_RULES = {"Repeat": "wer", "Gsm8kEval": "number", "GaokaoEval": "letter", "OpenbookQA": "letter", "HSK5": "letter"}
# Of Audio MultiChallenge: the user's turns of a conversation.
_MOST_ROUNDS = 8


def uro_bench(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """URO-Bench: ``id``, ``source_wav``, ``source_text`` and ``target_text``, or a ``dialogue`` of rounds of them.

    The hub has tables in a folder for each set; the archive ``TRACK/SET/test.jsonl``, with other names for the sets.
    Of several rounds the last is asked, the earlier ones answered as the benchmark answers them.
    """
    zipped = f"**/{_URO_ZIPPED.get(subset, subset.lower().replace('-', '_'))}/test.jsonl"
    for file in some(folder, f"**/{subset}/test-*.parquet", f"**/{subset}/test.jsonl", zipped):
        for where, row in records(file):
            own = str(take(row, where, "id"))
            turns: list[tuple[Path, str] | Answered | str] = []
            right, asked = "", ""
            for place, said in enumerate(row.get("dialogue") or [row]):
                if place:
                    turns.append(Answered(str(right)))
                clip = clip_of(take(said, where, "source_wav"), where, [file.parent, folder], kept, f"{own}-{place}")
                asked = str(take(said, where, "source_text"))
                turns.append((clip, asked))
                right = said.get("target_text") or ""
            answers = list(map(str, right)) if isinstance(right, list) else [str(right)]
            rule = _URO_RULES.get(subset.removesuffix("-zh"), "")
            reference = str(row.get("reference") or answers[0].rpartition("####")[2].strip())
            known: dict[str, object] = {"reference": reference if rule == "number" else answers[0], "answers": answers}
            known |= {"lang": "zh" if subset.endswith("-zh") else "en", "options": options_in(asked)}
            yield Question(own, tuple(turns), answers[0], rule, known)


def audio_multichallenge(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """Audio MultiChallenge: tables of the user's turns, ``user_turn_N_audio`` and ``_transcript``, and the assistant's.

    Its protocol is a fixed context: the last of the user's turns is answered. ``rubric`` is what a judge is told.
    """
    for file in some(folder, "**/*.parquet", "**/*.jsonl"):
        for number, (where, row) in enumerate(records(file)):
            if subset not in ("all", str(row.get("axis"))):
                continue
            own = str(row.get("id") or f"{file.stem}-{number}")
            turns: list[tuple[Path, str] | Answered | str] = []
            for place in range(1, _MOST_ROUNDS + 1):
                said = str(row.get(f"user_turn_{place}_transcript") or "")
                sound = row.get(f"user_turn_{place}_audio") or row.get(f"user_turn_{place}_audio_path")
                if not said and not sound:
                    break
                if place > 1:
                    turns.append(Answered(str(take(row, where, f"assistant_turn_{place - 1}_transcript"))))
                if not sound:
                    raise VTBError(f"{where} has words of the user's turn {place} and no user_turn_{place}_audio")
                turns.append((clip_of(sound, where, [file.parent, folder], kept, f"{own}-{place}"), said))
            rubric = take(row, where, "rubric", "rubrics")
            wanted = "\n".join(map(str, rubric)) if isinstance(rubric, list) else str(rubric)
            yield Question(own, tuple(turns), wanted, "", {"axis": str(row.get("axis") or "")})
