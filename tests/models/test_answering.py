"""What makes answering cheaper changes no answer and no weight."""

import json
import shutil

import numpy as np
import pytest
import torch

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.evaluation.answers import Task, answer_tasks
from nemo_vtb.evaluation.ask import ask
from nemo_vtb.evaluation.sets.plan import Plan, Questions
from nemo_vtb.inference.chat import ChatSession
from nemo_vtb.models.answers.generate import default_generation_config, prompt_embeddings, row_gate
from nemo_vtb.models.answers.heard import HeardClips
from nemo_vtb.models.voice_text_blender import VoiceTextBlender
from nemo_vtb.modules.lora.merged import merged_lora
from nemo_vtb.parts.prompts.turn_mask import encode_turns, merged_turns


@pytest.fixture(scope="module")
def model(slim_cfg):
    torch.manual_seed(1)
    model = VoiceTextBlender(slim_cfg(text_lora="audio_gated")).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # LoRA starts at nothing
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def dataset(model):
    return VTBDataset(model.tokenizer, model.cfg.prompt_format, model.audio_locator_tag)


@pytest.fixture
def tasks(conversation, clips):
    made = [
        conversation("a", ("user", "Transcribe it."), ("user", clips[0].path), ("assistant", "x"), kind="asr"),
        conversation("b", ("user", "What is the capital of France?"), ("assistant", "x"), kind="text"),
        conversation("c", ("user", clips[1].path), ("user", "What was said?"), ("assistant", "x"), kind="sqa"),
        conversation("d", ("user", "Count to three, slowly."), ("assistant", "x"), kind="text"),
        conversation("e", ("user", "Write it down."), ("user", clips[0].path), ("assistant", "x"), kind="asr"),
    ]
    return [Task(c.custom["kind"], c) for c in made]


@torch.no_grad()
def plainly(model, dataset, task):
    """An answer by itself: LoRA beside the weights, the gate, the clip encoded for it."""
    turns = merged_turns(task.conversation, model.audio_locator_tag)[:-1]
    rows = [encode_turns(turns, model.formatter, for_generation=True).input_ids]
    asked = prompt_embeddings(model, rows, dataset[[task.conversation]])
    config = default_generation_config(model, max_new_tokens=6)
    ids = model.backbone.generate(asked.embeds, asked.mask, config, row_gate(model, rows), asked.ids)
    return model.tokenizer.ids_to_text(ids[0].tolist()).strip()


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_answers_are_those_of_prompts_asked_plainly(model, dataset, tasks):
    before = weights(model)
    said = answer_tasks(model, dataset, tasks, max_new_tokens=6, batch_size=2)
    assert said == [plainly(model, dataset, task) for task in tasks]
    assert len(set(said)) > 1
    after = model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_lora_in_the_weights_is_the_same_function_and_comes_out_again(model):
    llm, embeds = model.backbone.causal_lm, torch.randn(1, 5, model.llm.config.hidden_size)
    kept = {name: (p.data_ptr(), p.detach().clone()) for name, p in llm.named_parameters()}

    def hidden():
        model.backbone._gate.value = None
        with torch.no_grad():
            return model.backbone.body(inputs_embeds=embeds, use_cache=False).last_hidden_state

    beside = hidden()
    with model.backbone.without_lora():
        untouched = hidden()
        with merged_lora(llm) as added:
            assert not added
            assert torch.equal(hidden(), untouched)
    with pytest.raises(RuntimeError, match="stop"), merged_lora(llm) as added:
        assert added
        torch.testing.assert_close(hidden(), beside, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(hidden(), untouched, atol=1e-2)
        raise RuntimeError("stop")
    assert torch.equal(hidden(), beside)
    for name, parameter in llm.named_parameters():
        assert (parameter.data_ptr(), True) == (kept[name][0], torch.equal(parameter, kept[name][1]))


def test_weights_of_less_precision_are_left_alone(model):
    layer = next(part for part in model.llm.modules() if hasattr(part, "lora_A"))
    weight = layer.get_base_layer().weight
    whole = weight.data
    weight.data = whole.to(torch.bfloat16)
    try:
        with merged_lora(model.llm) as added:
            assert not added
    finally:
        weight.data = whole


def test_a_clip_is_encoded_once(model, dataset, tasks, monkeypatch):
    encoded = []
    encode = model.encode_clips
    monkeypatch.setattr(model, "encode_clips", lambda batch: encoded.extend(batch["audio_ids"]) or encode(batch))
    heard = HeardClips(model)
    batch = dataset[[task.conversation for task in tasks]]
    frames, counts = heard(batch)
    names = batch["audio_ids"]
    assert names[0] == names[2] and sorted(encoded) == sorted({*names})
    again, same = heard(batch)
    assert torch.equal(frames, again) and counts == same and len(encoded) == len({*names})
    plain, plain_counts = encode(batch)
    assert counts == plain_counts
    torch.testing.assert_close(frames, plain, rtol=1e-4, atol=1e-4)
    forgetful = HeardClips(model, most_bytes=1)
    assert torch.equal(forgetful(batch)[0], frames) and not forgetful._frames


def test_the_untouched_llm_is_not_asked_what_it_has_said(model, dataset, tasks, monkeypatch):
    asked = []

    def counted(model, dataset, tasks, *rest, **more):
        asked.append([task.conversation.id for task in tasks])
        return answer_tasks(model, dataset, tasks, *rest, **more)

    monkeypatch.setattr("nemo_vtb.evaluation.ask.answer_tasks", counted)
    plan = Plan(questions=[Questions("mine", "sqa", tasks, 4)], scripts=[], chats={})
    answers = ask(model, dataset, plan, batch_size=3)
    tuned, base = answers.questions["tuned"][0], answers.questions["base"][0]
    assert sorted(asked[0]) == ["a", "b", "c", "d", "e"]
    assert sorted(asked[1]) == ["a", "c", "e"]
    with model.backbone.without_lora():
        assert base == answer_tasks(model, dataset, tasks, 4, 3)
    assert [tuned[i] for i in (1, 3)] == [base[i] for i in (1, 3)]
    assert np.any([a != b for a, b in zip(tuned, base, strict=True)])


@pytest.mark.parametrize(
    ("name", "fields", "shares"),
    [
        ("llama", {}, True),
        ("qwen3", {}, True),
        ("gemma2", {"sliding_window": 8}, False),
    ],
)
def test_prompts_read_together_are_answered_as_each_by_itself(build_family, monkeypatch, name, fields, shares):
    from nemo_vtb.inference.greedy_batch import answers_together, greedy_answers
    from nemo_vtb.models.answers.generate import spliced_prompts

    torch.manual_seed(2)
    model, _ = build_family(name, fields)
    backbone, limits = model.backbone, [12, 1, 12, 1, 7, 12]
    begin = list(range(40, 60))
    rows = [np.array(ids) for ids in (
        [*begin, 70, 71], [*begin, 70, 72, 73, 74], [5, 6, 7], begin[:12], [*begin, 80, 81], [*begin, 70, 71],
    )]  # fmt: skip
    nothing = {"audios": torch.zeros(0), "audio_lens": torch.zeros(0, dtype=torch.long)}
    config = default_generation_config(model)
    alone = []
    with torch.no_grad():
        for row, limit in zip(rows, limits, strict=True):
            asked = prompt_embeddings(model, [row], nothing)
            config.max_new_tokens = limit
            alone.append(backbone.generate(asked.embeds, asked.mask, config, None, asked.ids)[0].tolist())
    stops = {*config.eos_token_id, alone[0][len(alone[0]) // 2]}  # some of them end early
    wanted = [ids[: next((n for n, token in enumerate(ids) if token in stops), len(ids))] for ids in alone]
    fed = []
    forward = backbone.cached_hidden_states
    monkeypatch.setattr(
        backbone, "cached_hidden_states", lambda embeds, *rest: fed.append(embeds.shape[:2]) or forward(embeds, *rest)
    )
    assert answers_together(backbone)
    prompts = spliced_prompts(model, rows, nothing)
    assert greedy_answers(backbone, prompts, limits, stops) == wanted
    read = sum(rows * positions for rows, positions in fed if positions > 1)
    assert (read < sum(map(len, rows))) == shares
    assert all(count < len(rows) for count, positions in fed if positions == 1)


def test_what_prompts_begin_with_is_shared_where_that_saves_most():
    from nemo_vtb.inference.greedy_batch import shared_starts

    long = list(range(1000, 1030))
    keys = [
        np.array(ids) for ids in ([1, 2, 3, 9], [1, 2, 3, *long, 4], [7], [1, 2, 3, *long, 5], [7], [1, 2, 3, 8, 8])
    ]
    groups = {tuple(sorted(rows)): length for rows, length in shared_starts(keys)}
    assert groups[1, 3] == 33
    assert sorted(number for rows in groups for number in rows) == list(range(6))
    assert all(length < min(len(keys[number]) for number in rows) for rows, length in groups.items())


def test_settings_of_its_own_do_not_change_what_an_llm_answers(slim_cfg, tiny_llm, tmp_path):
    folder = shutil.copytree(tiny_llm, tmp_path / "llm")
    own = {"do_sample": True, "temperature": 2.0, "repetition_penalty": 50.0, "min_length": 40, "bad_words_ids": [[5]]}
    (folder / "generation_config.json").write_text(json.dumps(own))
    said = []
    for llm in (tiny_llm, folder):
        torch.manual_seed(0)
        asked = VoiceTextBlender(slim_cfg(pretrained_llm=str(llm))).eval()
        talk = [[{"role": "user", "content": "Once more: more, more, more."}]]
        said.append(asked.generate(talk, max_new_tokens=24)[0].tolist())
        stops = default_generation_config(asked).eos_token_id
        ids = [token for token in said[-1] if token not in stops]
        assert ChatSession(asked).say("Once more: more, more, more.", 24) == asked.tokenizer.ids_to_text(ids).strip()
    assert said[0] == said[1]
