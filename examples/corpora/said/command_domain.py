"""A small compositional language of spoken commands, with what can be asked about each utterance.

About eighty words in random combinations: numbers, sums, dates, commands, calls and plain word lists. Because the
combinations outnumber any training set, a model that transcribes unseen ones has learnt to hear rather than to recall.
Everything here is a pure function of the random generator it is given.
"""

from dataclasses import asdict, dataclass, field
from random import Random

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
COLOURS = ["red", "blue", "green", "yellow", "black", "white"]
OBJECTS = ["lamp", "door", "window", "radio", "heater", "fan", "curtain", "camera"]
ROOMS = ["kitchen", "bedroom", "bathroom", "garage", "garden", "office"]
ACTIONS = ("turn on", "turn off", "open", "close", "check")
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
NAMES = ["anna", "peter", "maria", "john", "lucy", "david"]

_SPANISH = dict(
    zip(
        (*NUMBERS, *ROOMS, *ACTIONS, *DAYS, *MONTHS),
        (
            *[
                "cero",
                "uno",
                "dos",
                "tres",
                "cuatro",
                "cinco",
                "seis",
                "siete",
                "ocho",
                "nueve",
                "diez",
                "once",
                "doce",
            ],
            *("en la cocina", "en el dormitorio", "en el baño", "en el garaje", "en el jardín", "en la oficina"),
            *("enciende", "apaga", "abre", "cierra", "revisa"),
            *["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
            *[
                "enero",
                "febrero",
                "marzo",
                "abril",
                "mayo",
                "junio",
                "julio",
                "agosto",
                "septiembre",
                "octubre",
                "noviembre",
                "diciembre",
            ],
        ),
        strict=True,
    )
)
_SPANISH_COLOURS = {
    "red": ("rojo", "roja"),
    "blue": ("azul", "azul"),
    "green": ("verde", "verde"),
    "yellow": ("amarillo", "amarilla"),
    "black": ("negro", "negra"),
    "white": ("blanco", "blanca"),
}
_SPANISH_OBJECTS = {
    "lamp": "la lámpara",
    "door": "la puerta",
    "window": "la ventana",
    "radio": "la radio",
    "heater": "la estufa",
    "fan": "el ventilador",
    "curtain": "la cortina",
    "camera": "la cámara",
}


@dataclass(frozen=True)
class CommandUtterance:
    """One utterance of the domain.

    Attributes:
        form: Which template made it: ``numbers``, ``sum``, ``command``, ``date``, ``call``, ``words`` or ``word``.
        text: The words as spoken, lower case, without punctuation.
        slots: What was filled in, by slot name.
        spanish: A Spanish translation, or an empty string where the form has none.
    """

    form: str
    text: str
    slots: dict = field(default_factory=dict)
    spanish: str = ""

    def to_dict(self) -> dict:
        """Returns the fields as a plain dict, ready for JSON."""
        return asdict(self)


def draw_utterance(rng: Random) -> CommandUtterance:
    """Draws one utterance; forms with more combinations are drawn more often."""
    form = rng.choices(
        ("numbers", "sum", "command", "date", "call", "words", "word"), weights=(20, 10, 25, 12, 8, 22, 3)
    )[0]
    return _DRAW[form](rng)


def _numbers(rng: Random) -> CommandUtterance:
    numbers = [rng.choice(NUMBERS) for _ in range(rng.randint(3, 5))]
    return CommandUtterance(
        "numbers", " ".join(numbers), {"numbers": numbers}, " ".join(_SPANISH[number] for number in numbers)
    )


def _sum(rng: Random) -> CommandUtterance:
    a, b = rng.randint(0, 12), rng.randint(0, 12)
    operator = rng.choice(("plus", "minus"))
    if operator == "minus":
        a, b = max(a, b), min(a, b)
    result = a + b if operator == "plus" else a - b
    spanish = f"{_SPANISH[NUMBERS[a]]} {'más' if operator == 'plus' else 'menos'} {_SPANISH[NUMBERS[b]]}"
    return CommandUtterance("sum", f"{NUMBERS[a]} {operator} {NUMBERS[b]}", {"result": str(result)}, spanish)


def _command(rng: Random) -> CommandUtterance:
    action, thing = rng.choice(ACTIONS), rng.choice(OBJECTS)
    slots = {"action": action, "object": thing}
    text, spanish = f"{action} the", f"{_SPANISH[action]} {_SPANISH_OBJECTS[thing]}"
    if rng.random() < 0.7:
        slots["colour"] = colour = rng.choice(COLOURS)
        text += f" {colour}"
        spanish += f" {_SPANISH_COLOURS[colour][_SPANISH_OBJECTS[thing].startswith('la ')]}"
    text += f" {thing}"
    if rng.random() < 0.7:
        slots["room"] = room = rng.choice(ROOMS)
        text += f" in the {room}"
        spanish += f" {_SPANISH[room]}"
    return CommandUtterance("command", text, slots, spanish)


def _date(rng: Random) -> CommandUtterance:
    day, ordinal, month = rng.choice(DAYS), rng.choice(ORDINALS), rng.choice(MONTHS)
    number = ORDINALS.index(ordinal) + 1
    spanish = f"{_SPANISH[day]} {'primero' if number == 1 else _SPANISH[NUMBERS[number]]} de {_SPANISH[month]}"
    slots = {"day": day, "ordinal": ordinal, "month": month}
    return CommandUtterance("date", f"{day} the {ordinal} of {month}", slots, spanish)


def _call(rng: Random) -> CommandUtterance:
    name, day = rng.choice(NAMES), rng.choice(DAYS)
    return CommandUtterance(
        "call", f"call {name} on {day}", {"name": name, "day": day}, f"llama a {name} el {_SPANISH[day]}"
    )


def _words(rng: Random) -> CommandUtterance:
    pool = (*NUMBERS, *COLOURS, *OBJECTS, *ROOMS, *DAYS, *MONTHS, *NAMES, *ORDINALS)
    words = [rng.choice(pool) for _ in range(rng.randint(2, 5))]
    return CommandUtterance("words", " ".join(words), {"words": words})


def _word(rng: Random) -> CommandUtterance:
    word = rng.choice((*OBJECTS, *ROOMS, *DAYS, *MONTHS, *COLOURS))
    return CommandUtterance("word", word, {"word": word})


_DRAW = {
    "numbers": _numbers,
    "sum": _sum,
    "command": _command,
    "date": _date,
    "call": _call,
    "words": _words,
    "word": _word,
}
