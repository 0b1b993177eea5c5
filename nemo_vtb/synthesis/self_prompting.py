"""Text-only replay conversations that an instruct LLM writes for itself, both sides of them.

The LLM sees its own chat template cut right after the user header and goes on: what it writes is a user turn. Then it
answers that turn as it would answer a person. Replaying such conversations while speech is learnt asks the LLM only to
stay what it is, and needs no outside text. Idea: Magpie (arXiv 2406.08464). Small models need four things more: a
system prompt with a topic while a user turn is sampled, the first words of that turn, a request for brevity at its
end, and filters.

User turns are sampled after that system prompt; answers are generated without any, in the form training uses.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.chat_frame import ChatFrame
from nemo_vtb.synthesis.llm import Reply, Sampling
from nemo_vtb.synthesis.turn_filters import text_fault, words_of

PROMPT_VERSION = "1"

# What a user turn of each category may begin with; the rest of the turn is the LLM's.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "brainstorming": (
        "Give me three short ideas for",
        "Suggest a name for",
        "Name two ways to",
        "Suggest one idea for",
    ),
    "planning": ("How do I plan", "What should I pack for", "What is the first step to", "I want to", "Help me plan"),
    "advice seeking": ("How can I", "Give me one tip for", "What should I do if", "I feel", "Should I", "My friend"),
    "role playing": ("You are a shopkeeper. Tell me", "Pretend you are a", "You are my teacher.", "You are a pirate."),
    "reasoning": ("Why do", "Why does", "Which is bigger,", "If it rains,", "Explain why", "What happens if"),
    "data analysis": ("What is the difference between", "What is the average of", "What does a graph of", "Compare"),
    "editing": ("Rewrite this sentence politely:", "Correct the grammar of this sentence:", "Make this shorter:"),
    "creative writing": ("Write one sentence about", "Write a line of a poem about", "Write a slogan for"),
    "information seeking": (
        "What is the",
        "Who was",
        "Where is",
        "What is a",
        "When did",
        "Who wrote",
        "Which country",
    ),
    "arithmetic": ("What is the sum of", "How much is", "If I have", "What is half of", "If a book costs"),
}
FOLLOW_UPS = (
    *("Can you", "Thanks! And what about", "Why", "What is", "And how", "Give me one example of", "Who", "Tell me"),
    *("Is it", "Where", "What if", "Can I", "How", "What about", "Now write"),
)
# Answers to bare questions seldom end within 90 tokens; an empty request keeps some of those that do.
BREVITY = (
    "",
    " Answer in one sentence.",
    " Answer in one short sentence.",
    " Be brief, one line only.",
    " Keep it short.",
)
_BREVITY_ODDS = (0.15, 0.3, 0.3, 0.15, 0.1)
_TOPIC_PROMPT = (
    "You answer short messages about {topic}. The user writes clear, simple English: one sentence, and wants a reply "
    "of one sentence."
)
_SENTENCE_END = re.compile(r"[?\n]|[.!](?=\s)")


@dataclass(frozen=True)
class SelfPromptingConfig:
    """How conversations are sampled and kept.

    Attributes:
        seed: Decides everything random, together with the shard number.
        shard_size: Conversations begun per shard; they also form one generation batch.
        exchange_weights: Odds of planning 1, 2, 3 ... exchanges.
        user_temperature: Sampling temperature of user turns.
        user_top_p: Nucleus of user turns.
        answer_temperature: 0 decodes answers greedily; above it they are sampled from the whole distribution.
        user_tokens: Fewest and most tokens the LLM adds to the first words of a user turn.
        answer_tokens: Fewest and most tokens of an answer, without the end-of-turn token.
        conversation_tokens: Most tokens of a whole conversation as training sees it.
    """

    seed: int = 11
    shard_size: int = 48
    exchange_weights: tuple[float, ...] = (0.2, 0.4, 0.4)
    user_temperature: float = 0.7
    user_top_p: float = 0.9
    answer_temperature: float = 0.0
    user_tokens: tuple[int, int] = (2, 32)
    answer_tokens: tuple[int, int] = (5, 90)
    conversation_tokens: int = 220


def generate_replies(
    model,
    tokenizer,
    prompts: Sequence[str],
    *,
    limit: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    until: re.Pattern | None = None,
    generator=None,
) -> list[Reply]:
    """Continues every prompt to its end of turn; rows that are done leave the batch, so short ones cost little.

    Args:
        model: A Hugging Face causal LM.
        tokenizer: Its tokenizer, with a pad token and a chat template.
        prompts: Rendered text, encoded without added special tokens.
        limit: Most new tokens per row.
        temperature: 0 for greedy decoding.
        top_p: Nucleus, where the temperature is above 0.
        until: A reply also ends, finished, behind the first match of this pattern.
        generator: ``torch.Generator`` of the sampling.

    Returns:
        One reply per prompt, in order. Special tokens inside a reply stay visible in its text.
    """
    import torch

    from nemo_vtb.synthesis.hf_decode import decode
    from nemo_vtb.synthesis.hf_llm import end_tokens

    if not prompts:
        return []
    batch = tokenizer(list(prompts), padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt")
    seeds = torch.randint(2**62, (len(prompts),), generator=generator) if temperature else torch.zeros(len(prompts))
    sampling = [Sampling(limit, temperature, top_p, int(seed)) for seed in seeds.tolist()]

    def cut(text: str) -> str | None:
        end = until.search(text) if until else None
        return text[: end.end()] if end else None

    return decode(
        model, tokenizer, batch, sampling, end_tokens(model, tokenizer), [cut if until else None] * len(prompts)
    )


def user_fault(reply: Reply, config: SelfPromptingConfig) -> str | None:
    """Returns why what the LLM wrote of a user turn is dropped, or ``None``."""
    fewest, most = config.user_tokens
    if not reply.finished or reply.tokens > most:
        return "too_long"
    if reply.tokens < fewest:
        return "too_short"
    if "\n" in reply.text.strip() or not reply.text.rstrip().endswith(("?", ".", "!", '"')):
        return "layout"
    return text_fault(reply.text)


def answer_fault(reply: Reply, user: str, config: SelfPromptingConfig) -> str | None:
    """Returns why an answer to ``user`` is dropped, or ``None``."""
    fewest, most = config.answer_tokens
    if not reply.finished or reply.tokens > most:
        return "truncated"
    if reply.tokens < fewest:
        return "too_short"
    if words_of(reply.text) == words_of(user):
        return "echo"
    return text_fault(reply.text)


def draft_conversations(model, tokenizer, config: SelfPromptingConfig, shard: int) -> tuple[list[dict], dict]:
    """Writes the conversations of one shard.

    A conversation whose later exchange is unfit keeps the exchanges before it; one whose first is unfit is dropped.

    Returns:
        Rows of NeMo's ``multimodal_conversation`` kind, and counts of unfit turns as ``user.<reason>`` and
        ``answer.<reason>``.
    """
    import torch

    frame = ChatFrame.from_tokenizer(tokenizer)
    rng = Random(f"{config.seed}/{shard}")
    generator = torch.Generator(device=model.device).manual_seed(rng.getrandbits(63))
    categories = rng.choices(tuple(CATEGORIES), k=config.shard_size)
    planned = rng.choices(range(1, len(config.exchange_weights) + 1), config.exchange_weights, k=config.shard_size)
    histories: list[list[tuple[str, str]]] = [[] for _ in categories]
    drops: Counter[str] = Counter()
    active = list(range(config.shard_size))
    for exchange in range(len(config.exchange_weights)):
        starts = {
            i: rng.choice(FOLLOW_UPS if exchange else CATEGORIES[categories[i]])
            for i in active
            if planned[i] > exchange
        }
        replies = generate_replies(
            model,
            tokenizer,
            [
                frame.user_query(histories[i], _TOPIC_PROMPT.format(topic=categories[i])) + start
                for i, start in starts.items()
            ],
            limit=config.user_tokens[1],
            temperature=config.user_temperature,
            top_p=config.user_top_p,
            until=_SENTENCE_END,
            generator=generator,
        )
        asked: dict[int, str] = {}
        for (i, start), reply in zip(starts.items(), replies, strict=True):
            request = rng.choices(BREVITY, _BREVITY_ODDS)[0]
            if fault := user_fault(reply, config):
                drops[f"user.{fault}"] += 1
            else:
                asked[i] = start + reply.text.rstrip() + request
        answers = generate_replies(
            model,
            tokenizer,
            [frame.answer_query(histories[i], user) for i, user in asked.items()],
            limit=config.answer_tokens[1],
            temperature=config.answer_temperature,
            generator=generator,
        )
        active = []
        for (i, user), reply in zip(asked.items(), answers, strict=True):
            answer = reply.text.strip()
            history = [*histories[i], (user, answer)]
            fault = answer_fault(reply, user, config)
            if not fault and words_of(answer) in {words_of(earlier) for _, earlier in histories[i]}:
                fault = "repeats_itself"
            length = len(tokenizer.encode(frame.render(history), add_special_tokens=False))
            if not fault and length > config.conversation_tokens:
                fault = "conversation_too_long"
            if fault:
                drops[f"answer.{fault}"] += 1
            else:
                histories[i] = history
                active.append(i)
    rows = [
        _row(f"self-{shard:04d}-{i:03d}", history, categories[i], config.seed)
        for i, history in enumerate(histories)
        if history
    ]
    return rows, dict(drops)


def iter_shards(model, tokenizer, config: SelfPromptingConfig, folder: str | Path) -> Iterator[dict]:
    """Yields shard after shard without end, reading those in ``folder`` and writing the rest there.

    Shards are whole or absent, so a run that was stopped goes on where it was.

    Yields:
        ``config``, ``rows``, ``drops`` and ``cpu_seconds`` (over all threads) of one shard.

    Raises:
        VTBError: The folder holds shards of other settings.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Through JSON once, so that tuples compare equal to what a file gives back.
    settings = json.loads(json.dumps({"prompt_version": PROMPT_VERSION, **asdict(config)}))
    shard = 0
    while True:
        path = folder / f"shard-{shard:04d}.json"
        if not path.exists():
            started = time.process_time()
            rows, drops = draft_conversations(model, tokenizer, config, shard)
            seconds = round(time.process_time() - started, 1)
            partial = path.with_suffix(".partial")
            content = {"config": settings, "rows": rows, "drops": drops, "cpu_seconds": seconds}
            partial.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            partial.rename(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["config"] != settings:
            raise VTBError(f"{path} was made with other settings; name an empty folder or remove its shards")
        yield content
        shard += 1


def _row(sample_id: str, history: Sequence[tuple[str, str]], category: str, seed: int) -> dict:
    turns = [
        {"from": role, "type": "text", "value": text}
        for exchange in history
        for role, text in zip(("User", "Assistant"), exchange, strict=True)
    ]
    custom = {"kind": "text", "category": category, "seed": seed, "prompt_version": PROMPT_VERSION}
    return {"id": sample_id, "conversations": turns, "custom": custom}
