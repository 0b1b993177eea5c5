import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.turn_filters import is_looping, text_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("What is a good name for a black cat?", None),
        ("1. Bread\n2. Milk, cheese and eggs", None),
        ("12 + 7 = 19", None),
        ("...", "empty"),
        ("", "empty"),
        ("Он сказал привет", "language"),
        ("Сказал hello to мама и папа", "language"),
        ("+ - * / = ? a", "language"),
        ("It stops <|im_start|> here", "special_token"),
        ("Run ```x = 1``` now", "code"),
        ('He said "no', "layout"),
        ("As an AI language model, I cannot.", "meta"),
        ("I am SmolLM.", "meta"),
        ("Shorten the previous answer.", "meta"),
        ("no no no no, never", "repetition"),
        ("the sea is deep and the sea is wide and the sea is blue", "repetition"),
        ("We go to the old house today. Yes, we go to the old house.", "repetition"),
    ],
)
def test_text_faults_are_named(text: str, fault: str | None):
    assert text_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "language", "fault"),
    [
        ("Wie geht es dir heute? Mir geht es gut.", "de", None),
        ("Grüße aus München, wo es heute schön ist.", "de", None),
        ("Grüße aus München, wo es heute schön ist.", "en", "language"),
        ("Hola, como estas? Estoy muy bien hoy, gracias por preguntar.", "en", "language"),
        ("What is a good name for a black cat that likes to sleep?", "de", "language"),
        ("Сегодня в Москве хорошая погода.", "ru", None),
        ("+ - * / = ? ü", "de", "language"),
        ("...", "de", "empty"),
    ],
)
def test_the_language_is_the_wanted_one(text: str, language: str, fault: str | None):
    assert text_fault(text, language) == fault


def test_a_language_that_nobody_knows_is_named():
    with pytest.raises(VTBError, match=r"language=klingon: known are .*, en, "):
        text_fault("Hello there.", "klingon")


def test_ordinary_repeats_are_no_loop():
    assert not is_looping("Tom has three apples and Sam has three pears, so Tom has more apples than Sam has.")
