import pytest

from nemo_vtb.synthesis.voices.speakable import for_the_eye, heard_form, spoken_form


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("en", "It costs $5.50 or £3.", "It costs five dollars, fifty cents or three pounds sterling."),
        ("en", "$2.5 million", "two point five million dollars"),
        ("en", "At 10:30 am or 9:05, even 8:00.", "At ten thirty am or nine oh five, even eight o'clock."),
        ("en", "20% of 5 km at 60 mph.", "twenty percent of five kilometers at sixty miles per hour."),
        ("en", "The 21st of May 1984.", "The twenty-first of May nineteen eighty-four."),
        ("en", "In the 1990s, at -5 °C.", "In the nineteen nineties, at minus five degrees Celsius."),
        ("en", "Take 5-10 of 3.14!", "Take five to ten of three point one four!"),
        ("en", "Dr. Smith & Mr. Jones vs. me, etc.", "Doctor Smith and Mister Jones versus me, et cetera."),
        ("en", "COVID-19, MP3 and 007.", "COVID nineteen, MP three and zero zero seven."),
        ("en", "**Bold** move (really) — yes/no?", "Bold move, really, yes no?"),
        ("en", "- It's “quoted”…", "It's quoted..."),
        ("en", "#1 of 10 m²", "number one of ten square meters"),
        ("es", "La 3.ª vez costó 5,50 €.", "La tercera vez costó cinco euros con cincuenta céntimos."),
        ("es", "¿1.000.000 o 3,5?", "¿un millón o tres punto cinco?"),
        ("es", "EE. UU. a las 10:30, 1 km.", "Estados Unidos a las diez y treinta, un kilómetro."),
        ("fr", "Le 1er, 10 000 € et 5,5 %.", "Le premier, dix mille euros et cinq virgule cinq pour cent."),
        ("it", "Costa 5,50 €, la 3ª volta.", "Costa cinque euro e cinquanta centesimi, la terza volta."),
        ("pt", "20% de 1.000 km.", "vinte por cento de mil quilômetros."),
        ("de", "z. B. 5,5 km um 10:30 Uhr.", "zum Beispiel fünf Komma fünf Kilometer um zehn Uhr dreißig."),
        ("ru", "Привет, мир!", "Привет, мир!"),
    ],
)  # fmt: skip
def test_numbers_and_short_forms_are_said_in_words(language, written, said):
    assert spoken_form(written, language) == said


@pytest.mark.parametrize(
    "written",
    [
        "See www.example.com now.", "Mail me@example.org.", "Open notes.txt.", "Use `pip`.", "Hi 😀 there.",
        "What is 3 x 4?", "a = b", "It is 12/05/2023.", "On 2023-05-12.", "Call 555-1234.", "Version 1.2.3.",
        "[Your Name] is here.",
        "Dear {name},", "日本 is Japan.", "500+ days", "I am ____.", "...", "a < b", "<b>Bold</b>", "At 99:99.",
    ],
)  # fmt: skip
def test_what_nobody_reads_aloud_stays_text(written):
    assert spoken_form(written, "en") is None


def test_a_language_without_rules_has_no_digits_spoken():
    assert spoken_form("5 км", "ru") is None


def test_code_and_tables_are_found_across_sentences():
    text = "Run this.\n```python\nimport os. Then go.\n```\nOr `a. b`.\n| a | b |\nEnd."
    assert [text[start:end] for start, end in for_the_eye(text)] == [
        "```python\nimport os. Then go.\n```", "`a. b`", "| a | b |"
    ]  # fmt: skip
    assert for_the_eye("Unclosed:\n```\nx. y.")[0][1] == len("Unclosed:\n```\nx. y.")


def test_a_transcript_compares_by_sound():
    assert heard_form("What’s 20% of COVID-19?", "en") == heard_form("whats twenty percent of covid nineteen", "en")
    assert heard_form("¡Él está aquí!", "es") == "el esta aqui"
