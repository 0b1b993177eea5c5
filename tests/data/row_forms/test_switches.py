"""Switches by which other people's rows say what is learnt: obeyed in the mask, or the row is refused by their name."""

import json

import pytest

from nemo_vtb.cli import main
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.files.rows import BadRows
from nemo_vtb.data.sources.source import Reading, open_source

OFF = [
    {"loss": False},
    {"weight": 0},
    {"weight": 0.0},
    {"train": False},
    {"training": False},
    {"trainable": False},
    {"loss": 0},
    {"loss": "false"},
    {"Loss": False},
    {"mask": True},
    {"mask": 1},
    {"masked": True},
    {"loss_mask": 0},
    {"loss_scale": 0.0},
    {"compute_loss": False},
    {"no_loss": True},
    {"ignore": True},
    {"is_target": False},
    {"include_in_loss": False},
    {"label": False},
    {"custom": {"loss": False}},
    {"metadata": {"train": "no"}},
]
CANNOT = [
    {"weight": 0.5},
    {"loss": "half"},
    {"train_detail": [{"begin_offset": 0, "train": False}]},
    {"my_loss": False},
    {"loss": False, "train": True},
]


@pytest.fixture(scope="module")
def dataset(tokenizer):
    return VTBDataset(tokenizer, "chatml", "<|audio|>")


def chat(first=(), second=(), user=(), **row):
    messages = [
        {"role": "user", "content": "hi", **dict(user)},
        {"role": "assistant", "content": "not this", **dict(first)},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": "this one", **dict(second)},
    ]
    return {"messages": messages, **row}


def nemo(first=(), **row):
    turns = [
        {"from": "User" if m["role"] == "user" else "Assistant", "value": m["content"]} for m in chat()["messages"]
    ]
    turns[1] |= dict(first)
    return {"conversations": turns, **row}


def learnt(conversation, dataset):
    """The words that carry loss."""
    encoded = dataset.encode(conversation)
    return dataset.tokenizer.ids_to_text(encoded.input_ids[encoded.loss_mask].tolist()).strip()


@pytest.mark.parametrize("switch", OFF, ids=str)
@pytest.mark.parametrize("data_type", ["share_gpt", "multimodal_conversation", "nemo_sft_jsonl"])
def test_an_answer_switched_off_carries_no_loss(jsonl, read, dataset, switch, data_type):
    row = chat(switch) if data_type == "share_gpt" else nemo(switch)
    key = "paths" if data_type == "nemo_sft_jsonl" else "manifest_filepath"
    (draw,) = read("text", type=data_type, **{key: jsonl(row)})
    assert learnt(draw(0), dataset) == "this one"
    assert "not this" in dataset.tokenizer.ids_to_text(dataset.encode(draw(0)).input_ids.tolist())


@pytest.mark.parametrize("switch", [{"loss": True}, {"weight": 1}, {"train": "yes"}, {"mask": False}, {"loss": None}])
def test_a_switch_that_is_on_changes_nothing(jsonl, read, dataset, switch):
    (draw,) = read("mixed", type="share_gpt", manifest_filepath=jsonl(chat(switch)))
    assert learnt(draw(0), dataset) == "not thisthis one"


@pytest.mark.parametrize("switch", CANNOT, ids=str)
def test_what_cannot_be_obeyed_is_refused_by_its_name(jsonl, read, switch):
    bad = BadRows(1.0)
    assert not read("mixed", bad, type="share_gpt", manifest_filepath=jsonl(chat(switch)))
    assert dict(bad.reasons) == {"loss switch": 1} and f"'{next(iter(switch))}'" in bad.first["loss switch"]


def test_no_users_turn_is_learnt(jsonl, read):
    bad = BadRows(1.0)
    rows = chat(user={"train": True}), chat(user={"loss": True}), chat(user={"weight": 0})
    assert len(read("mixed", bad, type="share_gpt", manifest_filepath=jsonl(*rows))) == 2
    assert dict(bad.reasons) == {"loss switch": 1}


@pytest.mark.parametrize(
    "row",
    [
        {"mask_history": True},
        {"last_turn_only": True},
        {"loss_scale": "last_round"},
        {"train_on": "last"},
        {"loss": "last_turn"},
        {"custom": {"mask_history": True}},
    ],
)
def test_the_last_turn_only(jsonl, read, dataset, row):
    (draw,) = read("mixed", type="share_gpt", manifest_filepath=jsonl(chat(**row)))
    assert learnt(draw(0), dataset) == "this one"


@pytest.mark.parametrize("row", [{"mask": "User"}, {"mask": None}, {"mask_history": False}, {"loss": True}])
def test_rows_that_say_what_is_done_anyway(jsonl, read, dataset, row):
    (draw,) = read("mixed", type="share_gpt", manifest_filepath=jsonl(chat(**row)))
    assert "not this" in learnt(draw(0), dataset)


@pytest.mark.parametrize(
    "row",
    [{"mask": "Assistant"}, {"loss": False}, {"weight": 0}, {"train": False}, {"label": False}, {"meta": {"loss": 0}}],
)
def test_rows_of_which_nothing_is_learnt_are_refused(jsonl, read, row):
    bad = BadRows(1.0)
    key = next(iter(row))
    assert not read("mixed", bad, type="share_gpt", manifest_filepath=jsonl(chat(**row)))
    assert key in bad.first["nothing supervised"]


def test_all_answers_off_is_nothing_supervised(jsonl, read):
    bad = BadRows(1.0)
    assert not read("mixed", bad, type="share_gpt", manifest_filepath=jsonl(chat({"loss": False}, {"loss": False})))
    assert "switched off" in bad.first["nothing supervised"]


def test_learn_last_is_a_key_of_the_source_and_sizes_count_what_is_learnt(jsonl, dataset):
    path = jsonl(chat())
    entry = {"type": "share_gpt", "manifest_filepath": path}
    every = open_source(entry, "text", Reading("<|audio|>", 0.08, encoder=dataset))
    last = open_source({**entry, "learn": "last"}, "text", Reading("<|audio|>", 0.08, encoder=dataset))
    assert learnt(last.draw(0, 0), dataset) == "this one"
    assert last.size(0).supervised == dataset.encode(last.draw(0, 0)).loss_mask.sum() < every.size(0).supervised
    assert last.size(0).total == every.size(0).total


def test_an_empty_answer_carries_no_loss_unless_it_is_kept(jsonl, read, dataset):
    path = jsonl(
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": " \u200b\n"},
                {"role": "user", "content": "b"},
                {"role": "assistant", "content": "yes"},
            ]
        }
    )
    (draw,) = read("text", type="share_gpt", manifest_filepath=path)
    assert learnt(draw(0), dataset) == "yes"
    source = open_source(
        {"type": "share_gpt", "manifest_filepath": path, "keep_empty": True}, "text", Reading("<|audio|>", 0.08)
    )
    kept = dataset.encode(source.draw(0, 0)).loss_mask.sum()
    assert kept > dataset.encode(draw(0)).loss_mask.sum()


def test_an_answer_is_learnt_as_it_stands(jsonl, read, dataset, tokenizer):
    row = {"messages": [{"role": "user", "content": " x "}, {"role": "assistant", "content": "    return 1\n"}]}
    (draw,) = read("text", type="share_gpt", manifest_filepath=jsonl(row))
    assert [turn.value for turn in draw(0).turns] == [" x ", "    return 1\n"]
    encoded = dataset.encode(draw(0))
    ids = encoded.input_ids[encoded.loss_mask].tolist()
    assert tokenizer.ids_to_text(ids, remove_special_tokens=False) == "    return 1\n<|im_end|>"
    # What is asked for an answer ends as the header does in training.
    header = tokenizer.text_to_ids("<|im_start|>assistant\n")
    start = int(encoded.loss_mask.argmax())
    assert encoded.input_ids[start - len(header) : start].tolist() == header


def test_preview_shows_what_is_learnt(jsonl, tiny_llm, tmp_path, capsys):
    config = {
        "model": {"pretrained_llm": str(tiny_llm), "audio_locator_tag": "<|audio|>"},
        "data": {
            "train_ds": {
                "prompt_format": "chatml",
                "audio_locator_tag": "<|audio|>",
                "token_equivalent_duration": 0.08,
                "blend": {
                    "kinds": {
                        "text": {
                            "share": 1.0,
                            "input_cfg": [{"type": "share_gpt", "manifest_filepath": jsonl(chat({"loss": False}))}],
                        }
                    }
                },
            }
        },
    }
    (tmp_path / "t.yaml").write_text(json.dumps(config))
    assert main(["preview", "--config-dir", str(tmp_path), "--config-name", "t"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("* 'this'" in line for line in lines) and not any("* 'not'" in line for line in lines)
    assert any("  'not'" in line for line in lines)
