from random import Random

from nemo_vtb.synthesis.replay.near_duplicates import near_duplicates, words_of


def by_comparing_all(texts: list[str], overlap: float) -> dict[int, int]:
    found: dict[int, int] = {}
    kept: list[int] = []
    for place, key in enumerate(map(words_of, texts)):
        others = [(other, words_of(texts[other])) for other in kept]
        near = [other for other, words in others if len(key & words) >= overlap * len(key | words)]
        if near:
            found[place] = near[0]
        else:
            kept.append(place)
    return found


def test_the_first_of_near_duplicates_stays():
    texts = ["What is the capital of France?", "what is the capital of france", "What is a volcano made of?"]
    assert near_duplicates(texts, 0.7) == {1: 0}


def test_none_is_missed():
    rng = Random(0)
    words = [f"w{number}" for number in range(30)]
    odds = [1 / (1 + number) for number in range(30)]
    texts = [" ".join(rng.choices(words, odds, k=rng.randint(3, 12))) for _ in range(400)]
    for overlap in (0.3, 0.5, 0.7, 0.9, 1.0):
        found = near_duplicates(texts, overlap)
        assert found == by_comparing_all(texts, overlap)
        assert 0 < len(found) < len(texts)
