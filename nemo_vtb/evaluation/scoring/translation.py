"""BLEU and chrF by sacrebleu, as sums over sentences that a bootstrap can draw again."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.scoring.bootstrap import Sums

# sacrebleu's own tokenizers for languages that its default does not split; it has none for the last four.
_TOKENIZERS = {"zh": "zh", "yue": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
_TOKENIZERS |= dict.fromkeys(("th", "lo", "my", "km"), "char")


def translation_scores(references: Sequence[str], answers: Sequence[str], target: str) -> dict[str, tuple[Sums, str]]:
    """Scores translations.

    sacrebleu draws for its own significance tests from the same sums, which are the private half of its interface; the
    tests hold them to its public scores.

    Args:
        references: One per answer.
        answers: What was said.
        target: Language of the translations, for the tokenizer of BLEU.

    Returns:
        ``{"bleu": (sums, signature), "chrf": ...}``; scores go from 0 to 100.

    Raises:
        VTBError: If sacrebleu, or its tokenizer of the language, is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise VTBError("BLEU and chrF need sacrebleu; run: pip install 'nemo-vtb[eval]'") from error
    tokenizer = _TOKENIZERS.get(target)
    try:
        bleu = BLEU(tokenize=tokenizer)
    except (ImportError, RuntimeError) as error:
        raise VTBError(f"BLEU of {target} needs sacrebleu's tokenizer {tokenizer}: {error}") from error
    return {
        name: (_sums(metric, references, answers), str(metric.get_signature()))
        for name, metric in (("bleu", bleu), ("chrf", CHRF()))
    }


def _sums(metric: Any, references: Sequence[str], answers: Sequence[str]) -> Sums:
    items = np.asarray(metric._extract_corpus_statistics(list(answers), [list(references)]), dtype=np.float64)

    def score(sums: np.ndarray) -> np.ndarray:
        flat = sums.reshape(-1, sums.shape[-1])
        whole = (metric._compute_score_from_stats([int(value) for value in row]).score for row in flat)
        return np.fromiter(whole, np.float64, len(flat)).reshape(sums.shape[:-1])

    return Sums(items, score)
