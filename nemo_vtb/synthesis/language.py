"""Which language a text is in."""

from functools import cache
from typing import Any

from nemo_vtb.errors import VTBError

# Short texts are guessed at random, with little confidence; above this, very few are wrong.
_SURE = 0.5


def is_other_language(text: str, language: str) -> bool:
    """Tells whether a text is surely in another language; of a short or mixed one nobody can be sure.

    Args:
        text: A sentence or more.
        language: ISO 639-1 code of the wanted one.

    Raises:
        VTBError: If py3langid is not installed or does not know the language.
    """
    identifier = _identifier()
    if language not in identifier.labels:
        raise VTBError(f"language={language}: known are {', '.join(sorted(identifier.labels))}")
    found, confidence = identifier.classify(text)
    return found != language and confidence > _SURE


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise VTBError("telling languages apart needs py3langid: pip install 'nemo-vtb[synth]'") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
