"""The shipped blends, merged over the quickstart's data as `+blend=...` does it."""

import pytest

from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import config_dir, corpora_dir

BLENDS = sorted(path.stem for path in (config_dir() / "blend").glob("*.yaml"))


def test_the_papers_draw_and_others_are_shipped():
    assert {"paper", "stratified", "speech_first", "speak"} <= set(BLENDS)


@pytest.mark.parametrize("name", BLENDS)
def test_a_blend_sets_shares_and_leaves_the_data_alone(name):
    plain = compose("quickstart", []).data.train_ds
    cfg = compose("quickstart", [f"+blend={name}"]).data.train_ds
    assert {kind: section.input_cfg for kind, section in cfg.blend.kinds.items()} == {
        kind: section.input_cfg for kind, section in plain.blend.kinds.items()
    }
    assert cfg.batch_tokens == plain.batch_tokens


def test_the_papers_blend_shares_out_steps():
    blend = compose("quickstart", ["+blend=paper"]).data.train_ds.blend
    assert (blend.unit, blend.strategy, list(blend.together)) == ("steps", "alternate", ["asr", "ast", "sqa", "mixed"])
    assert blend.kinds.text.share == 0.15 and sum(section.share for section in blend.kinds.values()) == pytest.approx(1)


def test_a_share_may_move():
    share = compose("quickstart", ["+blend=speech_first"]).data.train_ds.blend.kinds.asr.share
    assert dict(share) == {0: 0.6, 5000: 0.25}


def test_the_shipped_recordings_are_a_bank_for_chats(tmp_path):
    """``+blend=speak`` over a recognition manifest: what its sentences hold is spoken in chats of the text kind."""
    import json

    from nemo_vtb.data.files.entries import kind_entries
    from nemo_vtb.data.sources.source import Reading, read_sources

    said = "Turn on the light. Please do it now."
    rows = [json.loads(line) for line in (corpora_dir() / "spoken_commands/manifest.jsonl").read_text().splitlines()]
    chat = [
        {"from": "User", "value": f"{rows[0]['text'].capitalize()}! {said}"},
        {"from": "Assistant", "value": "Done."},
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"id": "c", "conversations": chat}) + "\n")
    section = "data.train_ds.blend.kinds"
    kinds = compose(
        "quickstart",
        [
            "+blend=speak",
            f"{section}.mixed.speak.bank=corpora:spoken_commands/manifest.jsonl",
            f"{section}.mixed.input_cfg=[]",
            f"{section}.text.input_cfg=[{{type: nemo_sft_jsonl, paths: {path}}}]",
        ],
    ).data.train_ds.blend.kinds
    [source] = read_sources(kind_entries(kinds, "mixed", section), "mixed", Reading("<|audio|>", 0.08))
    assert len(source) == 2
    for row in range(2):
        conversation = source.draw(row, 0)
        [clip] = conversation.list_cuts()
        assert clip.load_audio().size and conversation.custom["written"][0]["text"] == chat[0]["value"]
    with pytest.raises(VTBError, match="speak needs a bank"):
        unnamed = compose("quickstart", ["+blend=speak"]).data.train_ds.blend.kinds
        read_sources(kind_entries(unnamed, "mixed", section), "mixed", Reading("<|audio|>", 0.08))
