import json
import os

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.chat_frame import ChatFrame
from nemo_vtb.synthesis.self_prompting import (
    CATEGORIES,
    Reply,
    SelfPromptingConfig,
    answer_fault,
    draft_conversations,
    generate_replies,
    iter_shards,
    user_fault,
)
from nemo_vtb.synthesis.turn_filters import is_looping, text_fault, without_duplicates

HISTORY = [("Who are you?", "A lamp."), ("Why?", "By chance.")]
LIMITS = SelfPromptingConfig(user_tokens=(2, 10), answer_tokens=(3, 10))


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    from nemo_vtb.assets import resolve

    folder = os.environ.get("NEMO_VTB_TEST_LLM")
    if not folder:
        try:
            folder = resolve("smollm2-135m-instruct")
        except VTBError as error:
            pytest.skip(f"SmolLM2 cannot be fetched here: {error}")
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(tokenizer):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        # Large weights make the next token depend on what was read, also without training.
        initializer_range=0.5,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).eval()


def test_the_frame_leaves_out_the_default_system_prompt(tokenizer):
    frame = ChatFrame.from_tokenizer(tokenizer)
    assert frame.user_query([]) == "<|im_start|>user\n"
    assert frame.answer_query([], "Hi.") == "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n"


def test_the_frame_renders_as_the_template_does(tokenizer):
    frame = ChatFrame.from_tokenizer(tokenizer)
    messages = [{"role": "system", "content": "Be kind."}]
    for user, answer in HISTORY:
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert frame.render(HISTORY, "Be kind.") == rendered
    assert frame.user_query(HISTORY, "Be kind.") == rendered + "<|im_start|>user\n"


def test_a_template_with_bos_and_without_a_system_role(tokenizer):
    import copy

    gemma_like = copy.deepcopy(tokenizer)
    gemma_like.bos_token = "<|endoftext|>"
    gemma_like.chat_template = (
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}<t>{{ 'model' if m.role == 'assistant' else 'user' }}\n{{ m.content }}</t>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<t>model\n{% endif %}"
    )
    frame = ChatFrame.from_tokenizer(gemma_like)
    assert frame.system is None
    assert frame.answer_query([("a", "b")], "c") == (
        "<|endoftext|><t>user\na</t>\n<t>model\nb</t>\n<t>user\nc</t>\n<t>model\n"
    )
    assert frame.user_query([], "a topic") == "<|endoftext|><t>user\n"


def test_unusable_templates_are_refused(tokenizer):
    import copy

    broken = copy.deepcopy(tokenizer)
    broken.chat_template = None
    with pytest.raises(VTBError, match="no chat template"):
        ChatFrame.from_tokenizer(broken)
    broken.chat_template = "{{ messages[-1].content }}"
    with pytest.raises(VTBError, match="every turn alike"):
        ChatFrame.from_tokenizer(broken)


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
def test_text_faults_are_named(text, fault):
    assert text_fault(text) == fault


def test_ordinary_repeats_are_no_loop():
    assert not is_looping("Tom has three apples and Sam has three pears, so Tom has more apples than Sam has.")


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(" best way to cook rice?", 6, True), None),
        (Reply(" best way to cook rice?", 6, False), "too_long"),
        (Reply(" x?", 1, True), "too_short"),
        (Reply(" best way to cook", 5, True), "layout"),
        (Reply(" best way\nto cook?", 6, True), "layout"),
        (Reply(" purpose of an AI assistant?", 6, True), "meta"),
    ],
)
def test_user_faults_are_named(reply, fault):
    assert user_fault(reply, LIMITS) == fault


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply("Rome, of course.", 5, True), None),
        (Reply("Rome, of", 10, False), "truncated"),
        (Reply("Rome", 1, True), "too_short"),
        (Reply("which city, please", 5, True), "echo"),
    ],
)
def test_answer_faults_are_named(reply, fault):
    assert answer_fault(reply, "Which city, please?", LIMITS) == fault


def test_near_duplicates_keep_the_first():
    rows = [
        {"id": i, "conversations": [{"value": text}]}
        for i, text in enumerate(
            ("What is the capital of France?", "what is the capital of france", "What is a volcano made of?")
        )
    ]
    kept, dropped = without_duplicates(rows)
    assert [row["id"] for row in kept] == [0, 2]
    assert dropped == 1


def test_batched_greedy_replies_equal_single_ones(tokenizer, model):
    frame = ChatFrame.from_tokenizer(tokenizer)
    prompts = [frame.answer_query([], text) for text in ("Hi", "Tell me something about the sea, please.", "Why?")]
    together = generate_replies(model, tokenizer, prompts, limit=12)
    alone = [generate_replies(model, tokenizer, [prompt], limit=12)[0] for prompt in prompts]
    assert together == alone
    assert len({reply.text for reply in together}) == len(prompts)


def test_greedy_replies_equal_the_library_s(tokenizer, model):
    prompt = ChatFrame.from_tokenizer(tokenizer).answer_query([], "Hello there")
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    expected = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    (reply,) = generate_replies(model, tokenizer, [prompt], limit=12)
    assert reply.text == tokenizer.decode(expected, skip_special_tokens=True)


def test_a_reply_ends_at_the_turn_s_end_and_leaves_the_batch(tokenizer, model):
    import torch

    frame = ChatFrame.from_tokenizer(tokenizer)
    prompts = [frame.answer_query([], text) for text in ("Hi", "Tell me something.")]
    free = generate_replies(model, tokenizer, prompts, limit=12)
    assert not any(reply.finished for reply in free)
    ids = tokenizer(prompts[0], add_special_tokens=False, return_tensors="pt")
    fifth = model.generate(**ids, max_new_tokens=5, do_sample=False)[0, -1].item()
    end = tokenizer.eos_token_id
    swapped = model.lm_head.weight.detach().clone()
    swapped[[fifth, end]] = swapped[[end, fifth]]
    original = model.lm_head.weight
    try:
        model.lm_head.weight = torch.nn.Parameter(swapped)
        ended = generate_replies(model, tokenizer, prompts, limit=12)
    finally:
        model.lm_head.weight = original
    assert ended[0].finished
    assert ended[0].tokens <= 4
    assert free[0].text.startswith(ended[0].text)


def test_a_pattern_ends_a_reply_too(tokenizer, model):
    import re

    prompt = ChatFrame.from_tokenizer(tokenizer).user_query([])
    (free,) = generate_replies(model, tokenizer, [prompt], limit=12)
    middle = free.text[len(free.text) // 2]
    (cut,) = generate_replies(model, tokenizer, [prompt], limit=12, until=re.compile(re.escape(middle)))
    assert cut.finished
    assert cut.text == free.text[: free.text.index(middle) + 1]


@pytest.fixture
def talkative(tokenizer, model, monkeypatch):
    """Settings under which an untrained LLM's text passes, so that whole conversations come out."""
    import nemo_vtb.synthesis.self_prompting as module

    monkeypatch.setattr(module, "user_fault", lambda reply, config: None)
    monkeypatch.setattr(
        module, "answer_fault", lambda reply, user, config: "truncated" if "a" in reply.text.lower()[:6] else None
    )
    return SelfPromptingConfig(shard_size=4, user_tokens=(1, 4), answer_tokens=(1, 4), conversation_tokens=400)


def test_conversations_are_rows_nemo_reads(tokenizer, model, talkative):
    rows, drops = draft_conversations(model, tokenizer, talkative, shard=3)
    assert rows
    for row in rows:
        assert [turn["from"] for turn in row["conversations"]] == ["User", "Assistant"] * (
            len(row["conversations"]) // 2
        )
        assert all(turn["type"] == "text" and turn["value"] for turn in row["conversations"])
        assert row["custom"]["kind"] == "text"
        openings = CATEGORIES[row["custom"]["category"]]
        assert row["conversations"][0]["value"].startswith(openings)
    dropped_first = talkative.shard_size - len(rows)
    assert sum(drops.values()) >= dropped_first
    assert set(drops) <= {"answer.truncated", "answer.repeats_itself", "answer.conversation_too_long"}


def test_unfit_text_leaves_nothing_but_counts(tokenizer, model):
    config = SelfPromptingConfig(shard_size=4, user_tokens=(2, 5), answer_tokens=(2, 5))
    rows, drops = draft_conversations(model, tokenizer, config, shard=0)
    assert rows == []
    assert sum(drops.values()) == 4


def test_shards_resume_and_repeat(tokenizer, model, talkative, tmp_path):
    def first_two(folder):
        shards = iter_shards(model, tokenizer, talkative, folder)
        return [next(shards)["rows"], next(shards)["rows"]]

    rows = first_two(tmp_path / "a")
    assert rows == first_two(tmp_path / "b")
    (tmp_path / "a" / "shard-0001.json").unlink()
    kept = (tmp_path / "a" / "shard-0000.json").stat().st_mtime_ns
    assert first_two(tmp_path / "a") == rows
    assert (tmp_path / "a" / "shard-0000.json").stat().st_mtime_ns == kept
    assert not list((tmp_path / "a").glob("*.partial"))
    assert len({row["id"] for shard in rows for row in shard}) == sum(map(len, rows))


def test_shards_of_other_settings_are_refused(tokenizer, model, tmp_path):
    (tmp_path / "shard-0000.json").write_text(json.dumps({"config": {}, "rows": [], "drops": {}, "cpu_seconds": 0}))
    with pytest.raises(VTBError, match="other settings"):
        next(iter_shards(model, tokenizer, LIMITS, tmp_path))
