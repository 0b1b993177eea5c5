"""Scores agree with their reference implementations, on cases whose result is known."""

import pytest

from nemo_vtb.evaluation.scoring.bootstrap import Drawing, estimate
from nemo_vtb.evaluation.scoring.metrics import (
    character_errors,
    normaliser,
    squad_exact,
    squad_f1,
    squad_normalise,
    word_errors,
)
from nemo_vtb.evaluation.scoring.translation import translation_scores

SAID = ["Turn on the red lamp, please.", "It's twenty-one degrees", "", "mister smith", "one two three"]
HEARD = ["turn on a red lamp please", "it is 21 degrees", "hello there", "Mr. Smith", ""]


def test_word_error_rate_is_nemos_on_normalised_text():
    from nemo.collections.asr.metrics.wer import word_error_rate

    clean = normaliser("en")
    said, heard = ([clean(text) for text in texts] for texts in (SAID, HEARD))
    assert word_errors(SAID, HEARD, "en").value == pytest.approx(word_error_rate(heard, said))
    assert character_errors(SAID, HEARD, "en").value == pytest.approx(word_error_rate(heard, said, use_cer=True))


def test_word_error_rate_is_jiwers():
    import jiwer

    said, heard = ["a b c d", "e f"], ["a x c", "e f g h"]
    assert word_errors(said, heard, "fr").value == pytest.approx(jiwer.wer(said, heard))
    assert character_errors(said, heard, "fr").value == pytest.approx(jiwer.cer(said, heard))


def test_english_numbers_and_contractions_count_alike():
    assert word_errors(SAID[1:2] + SAID[3:4], HEARD[1:2] + HEARD[3:4], "en").value == 0.0


def test_errors_are_counted_by_utterance():
    assert word_errors(["a b c", "d"], ["a x c", "d e"], "it").items.tolist() == [[1, 3], [1, 1]]


def test_accents_count_and_languages_without_spaces_are_counted_by_character():
    assert word_errors(["está aquí"], ["esta aquí"], "es").value == 0.5
    assert word_errors(["你好世界"], ["你好世家"], "zh").value == 0.25


def test_squad_normalisation_as_published():
    assert squad_normalise("The  Quick, brown fox's  an apple.") == "quick brown foxs apple"
    assert squad_normalise("A. The. An") == ""


@pytest.mark.parametrize(
    ("references", "answer", "exact", "f1"),
    [
        (["Denver Broncos"], "the Denver Broncos!", 1.0, 1.0),
        (["Denver Broncos"], "Broncos", 0.0, 2 / 3),
        (["Denver Broncos", "Broncos"], "Broncos", 1.0, 1.0),
        (["green"], "green green lamp", 0.0, 0.5),
        (["lamp"], "", 0.0, 0.0),
        (["lamp"], "door", 0.0, 0.0),
    ],
)
def test_squad_scores_by_hand(references, answer, exact, f1):
    assert squad_exact([references], [answer]).value == exact
    assert squad_f1([references], [answer]).value == pytest.approx(f1)


def test_bleu_and_chrf_are_sacrebleus():
    from sacrebleu import corpus_bleu, corpus_chrf

    references = ["llama a lucy el sábado", "abre la ventana negra de la cocina", "doce menos once"] * 4
    answers = ["llama lucy el sábado", "abre la puerta negra de la cocina", "doce más once"] * 4
    found = translation_scores(references, answers, "es")
    assert found["bleu"][0].value == pytest.approx(corpus_bleu(answers, [references]).score)
    assert found["chrf"][0].value == pytest.approx(corpus_chrf(answers, [references]).score)
    assert "tok:13a" in found["bleu"][1] and "nc:6" in found["chrf"][1]
    interval = estimate(found["bleu"][0], Drawing(200))
    assert interval["low"] < interval["value"] < interval["high"]


def test_bootstrapped_bleu_is_sacrebleus_of_the_drawn_set():
    from sacrebleu import corpus_bleu

    references, answers = (
        ["the cat sat on the mat", "a dog ran far away today"],
        ["the cat sat on a mat", "a dog ran off"],
    )
    sums = translation_scores(references, answers, "en")["bleu"][0]
    twice = sums.score(sums.items[[0, 0, 1]].sum(axis=0))
    drawn = corpus_bleu([answers[i] for i in (0, 0, 1)], [[references[i] for i in (0, 0, 1)]])
    assert float(twice) == pytest.approx(drawn.score)
