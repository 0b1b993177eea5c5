"""Short facts that everybody knows, as multiple choice: the wrong options come from the same table."""

from collections.abc import Iterator
from random import Random

CAPITALS = dict(
    pair.split(":")
    for pair in (
        "France:Paris Germany:Berlin Italy:Rome Spain:Madrid Portugal:Lisbon Austria:Vienna Poland:Warsaw "
        "Greece:Athens Norway:Oslo Sweden:Stockholm Finland:Helsinki Denmark:Copenhagen Ireland:Dublin "
        "Belgium:Brussels Hungary:Budapest Romania:Bucharest Bulgaria:Sofia Russia:Moscow Ukraine:Kyiv "
        "Turkey:Ankara Egypt:Cairo Kenya:Nairobi Nigeria:Abuja Ethiopia:Addis_Ababa Morocco:Rabat Tunisia:Tunis "
        "Ghana:Accra Japan:Tokyo China:Beijing India:New_Delhi Thailand:Bangkok Vietnam:Hanoi Indonesia:Jakarta "
        "Iran:Tehran Iraq:Baghdad Israel:Jerusalem Nepal:Kathmandu Pakistan:Islamabad Afghanistan:Kabul "
        "Australia:Canberra Canada:Ottawa Cuba:Havana Peru:Lima Chile:Santiago Argentina:Buenos_Aires "
        "Brazil:Brasilia Colombia:Bogota Venezuela:Caracas Ecuador:Quito Uruguay:Montevideo Iceland:Reykjavik "
        "Switzerland:Bern Croatia:Zagreb Serbia:Belgrade Jamaica:Kingston Malaysia:Kuala_Lumpur"
    ).split()
)
OPPOSITES = dict(
    pair.split(":")
    for pair in (
        "hot:cold big:small tall:short fast:slow old:young rich:poor hard:soft light:heavy early:late open:closed "
        "full:empty wet:dry clean:dirty loud:quiet happy:sad strong:weak near:far up:down left:right day:night "
        "love:hate win:lose buy:sell push:pull begin:end true:false always:never first:last inside:outside "
        "above:below dark:bright sweet:sour thick:thin wide:narrow deep:shallow sharp:blunt safe:dangerous "
        "cheap:expensive easy:difficult brave:afraid polite:rude same:different alive:dead asleep:awake "
        "accept:refuse arrive:leave remember:forget laugh:cry summer:winter north:south"
    ).split()
)
PLURALS = dict(
    pair.split(":")
    for pair in (
        "child:children man:men woman:women foot:feet tooth:teeth goose:geese mouse:mice ox:oxen person:people "
        "leaf:leaves knife:knives wife:wives wolf:wolves life:lives shelf:shelves half:halves city:cities "
        "baby:babies box:boxes bus:buses potato:potatoes tomato:tomatoes hero:heroes cactus:cacti party:parties "
        "church:churches"
    ).split()
)
PASTS = dict(
    pair.split(":")
    for pair in (
        "go:went see:saw eat:ate run:ran come:came take:took give:gave make:made know:knew think:thought "
        "buy:bought bring:brought catch:caught teach:taught find:found write:wrote drive:drove speak:spoke "
        "break:broke choose:chose fly:flew grow:grew begin:began drink:drank sing:sang swim:swam sit:sat "
        "stand:stood sleep:slept keep:kept feel:felt leave:left lose:lost meet:met pay:paid say:said sell:sold "
        "send:sent tell:told win:won"
    ).split()
)
YOUNG = dict(
    pair.split(":")
    for pair in (
        "dog:puppy cat:kitten cow:calf horse:foal sheep:lamb goat:kid pig:piglet duck:duckling hen:chick "
        "goose:gosling lion:cub deer:fawn frog:tadpole swan:cygnet kangaroo:joey butterfly:caterpillar owl:owlet"
    ).split()
)
LANGUAGES = dict(
    pair.split(":")
    for pair in (
        "France:French Germany:German Italy:Italian Spain:Spanish Portugal:Portuguese Poland:Polish Greece:Greek "
        "Norway:Norwegian Sweden:Swedish Finland:Finnish Denmark:Danish Hungary:Hungarian Romania:Romanian "
        "Russia:Russian Turkey:Turkish Japan:Japanese China:Chinese Thailand:Thai Vietnam:Vietnamese "
        "Brazil:Portuguese Mexico:Spanish Austria:German Egypt:Arabic Iran:Persian"
    ).split()
)
KINDS = {
    "a fruit": "apple pear plum cherry banana grape peach lemon".split(),
    "an animal": "horse tiger rabbit elephant monkey camel goat whale".split(),
    "a tool": "hammer saw screwdriver drill wrench shovel axe chisel".split(),
    "a musical instrument": "violin piano flute drum guitar trumpet harp cello".split(),
    "a piece of clothing": "shirt coat sock hat glove scarf jacket skirt".split(),
    "a vehicle": "car train bicycle truck boat bus tram motorcycle".split(),
    "a color": "red blue green yellow purple orange brown grey".split(),
    "a part of the body": "elbow knee shoulder nose ankle thumb chin wrist".split(),
}
MAKERS = dict(
    pair.split(":")
    for pair in (
        "baker:bread tailor:clothes brewer:beer carpenter:furniture potter:pots shoemaker:shoes painter:paintings "
        "writer:books composer:music jeweler:rings winemaker:wine cook:meals"
    ).split()
)
PLACES = {
    "a book": "a library",
    "a fish": "the sea",
    "a doctor": "a hospital",
    "a teacher": "a school",
    "a plane": "an airport",
    "a judge": "a court",
    "a cow": "a farm",
    "a train": "a station",
    "a penguin": "the ice",
    "a camel": "the desert",
    "a monk": "a monastery",
    "an actor": "a theater",
    "a star": "the sky",
    "a prisoner": "a jail",
}


def facts(seed: int = 0, wrong: int = 3) -> Iterator[dict]:
    """Yields rows of type ``choices``.

    Args:
        seed: Of the wrong options and the order of all.
        wrong: Wrong options of each question.
    """
    rng = Random(seed)
    tables = {
        "capital": ("What is the capital of {}?", CAPITALS),
        "opposite": ('What is the opposite of "{}"?', OPPOSITES),
        "plural": ('What is the plural of the word "{}"?', PLURALS),
        "past": ('What is the past tense of the verb "{}"?', PASTS),
        "young": ("What is a young {} called?", YOUNG),
        "language": ("Which language do most people in {} speak?", LANGUAGES),
        "maker": ("What does a {} make?", MAKERS),
        "place": ("Where would you look for {}?", PLACES),
    }
    for name, (question, table) in tables.items():
        for asked, answer in table.items():
            others = sorted({other for other in table.values() if other != answer})
            yield _row(f"{name}/{asked}", question.format(asked), answer, rng.sample(others, wrong), rng)
    for kind, members in KINDS.items():
        strangers = [thing for other, things in KINDS.items() if other != kind for thing in things]
        for member in members:
            yield _row(f"kind/{member}", f"Which of these is {kind}?", member, rng.sample(strangers, wrong), rng)


def _row(name: str, prompt: str, answer: str, others: list[str], rng: Random) -> dict:
    texts = [text.replace("_", " ") for text in (answer, *others)]
    options = rng.sample(texts, len(texts))
    if name.startswith("kind/"):
        prompt = f"{prompt[:-1]}: {', '.join(options[:-1])} or {options[-1]}?"
    return {"id": f"fact/{name}", "prompt": prompt, "options": options, "answer": options.index(texts[0])}
