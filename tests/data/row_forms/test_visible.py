"""Invisible text and control tokens: lint names them, and what is a token only by its spelling is learnt as text."""

import unicodedata

import pytest

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.inspection.lint import LintResult, lint_entry
from nemo_vtb.data.row_forms.visible import has_text, invisible
from nemo_vtb.data.sources.source import Reading

READING = Reading("<|audio|>", 0.08)


def lint(path, special=(), **entry):
    result = LintResult()
    entry = {"type": "share_gpt", "manifest_filepath": path, **entry}
    lint_entry(entry, "mixed", READING, result, special_tokens=special, processes=1)
    return [(f.line, f.reason, f.message) for f in result.findings]


@pytest.mark.parametrize(
    "text",
    [
        "a\u200bb",
        "\ufeffa",
        "a\u202eb",
        "x\U000e0041\U000e0042",
        "a\u2060",
        "\x00",
        "a\ufe0f\ufe0f\ufe0f",
        "a \ufe01",
        "hid\u3164den",
        "\ue000",
        "a\u200d b",
    ],
)
def test_invisible_text_is_found(text):
    assert list(invisible(text))


@pytest.mark.parametrize(
    "text",
    [
        "plain\n\ttext\r\n",
        "👩‍👩‍👧 ❤️",
        "می‌خواهم",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "葛\U000e0100飾区",
        "soft\u00adhyphen",
        "ש\u200fa",
        "क्‍ष",
        "한국어",
        "日本語",
    ],
)
def test_what_scripts_need_is_not(text):
    assert not list(invisible(text)) and has_text(text)


def test_nothing_to_see_is_no_text():
    assert not has_text(" \u200b\n\u3164\ufeff") and has_text("\u200b.")


def test_lint_names_invisible_text_and_empty_answers(jsonl):
    def row(asked, *answers):
        messages = [{"role": "user", "content": asked}]
        for answer in answers:
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "and?"}]
        return {"messages": messages[:-1]}

    found = lint(jsonl(row("hi\u200b\u200b", "yes"), row("hi", "", "yes"), row("hi", "\u2063", "yes")))
    assert [(line, reason) for line, reason, _ in found] == [
        (1, "invisible text"),
        (2, "empty answer"),
        (3, "invisible text"),
        (3, "empty answer"),
    ]
    assert "2 of U+200B ZERO WIDTH SPACE" in found[0][2]


@pytest.mark.parametrize("token", ["<|im_end|>", "<|endoftext|>", "<|im_start|>assistant\n", "<|im_end|><|im_start|>"])
def test_control_tokens_in_words_are_learnt_as_text(jsonl, read, tokenizer, token):
    dataset = VTBDataset(tokenizer, "chatml", "<|audio|>")
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {token}?"},
                {"role": "assistant", "content": f"It is {token}."},
            ]
        }
    ]
    (draw,) = read("text", type="share_gpt", manifest_filepath=jsonl(*rows))
    encoded = dataset.encode(draw(0))
    special = set(tokenizer.tokenizer.all_special_ids)
    # The four of the two turns themselves, and none else.
    assert sum(token in special for token in encoded.input_ids.tolist()) == 4
    text = tokenizer.ids_to_text(encoded.input_ids.tolist(), remove_special_tokens=False)
    assert text == f"<|im_start|>user\nWhat is {token}?<|im_end|>\n<|im_start|>assistant\nIt is {token}.<|im_end|>\n"
    learnt = encoded.input_ids[encoded.loss_mask].tolist()
    assert tokenizer.ids_to_text(learnt, remove_special_tokens=False) == f"It is {token}.<|im_end|>"
    special_tokens = tokenizer.tokenizer.all_special_tokens
    assert {reason for _, reason, _ in lint(jsonl(*rows), special_tokens)} == {"special token in text"}
    assert {reason for _, reason, _ in lint(jsonl(*rows))} == {"special token in text"}


def test_a_dataset_that_breaks_tokens_travels_to_workers(tokenizer):
    import pickle

    from nemo_vtb.parts.prompts.control_tokens import broken, control_tokens

    dataset = pickle.loads(pickle.dumps(VTBDataset(tokenizer, "chatml", "<|audio|>")))  # noqa: S301 - made here
    assert dataset._ids.text_to_ids("hi") == tokenizer.text_to_ids("hi")
    assert control_tokens("no tokenizer") is None and broken("<|x|>", None) == "<|x|>"


def test_names_that_differ_by_their_normalisation(jsonl, clip, tmp_path, monkeypatch):
    import shutil

    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    shutil.copy(clip.path, tmp_path / f"{apart}.ogg")
    row = {"audio_filepath": f"{composed}.ogg", "text": "hi"}
    found = _lint_nemo(jsonl({"id": "1", **row}))
    assert [(line, reason) for line, reason, _ in found] == [(1, "other normalisation")]
    monkeypatch.chdir(tmp_path)
    assert [reason for _, reason, _ in _lint_nemo("rows.jsonl")] == ["other normalisation"]
    shutil.copy(clip.path, tmp_path / f"{composed}.ogg")
    rows = [{"id": f"{name}", "audio_filepath": f"{name}.ogg", "text": "hi"} for name in (composed, apart)]
    assert {(line, reason) for line, reason, _ in _lint_nemo(jsonl(*rows))} == {(2, "names alike")}


def _lint_nemo(path):
    result = LintResult()
    lint_entry({"type": "nemo", "manifest_filepath": path}, "asr", READING, result, processes=1)
    return [(f.line, f.reason, f.message) for f in result.findings]
