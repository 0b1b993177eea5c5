"""What the data has given reaches the training logger and the checkpoint."""

import json

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from omegaconf import OmegaConf

from nemo_vtb.data.conversations.size import measure
from nemo_vtb.data.datamodule import VTBDataModule
from nemo_vtb.data.dataset import VTBDataset


class Written(Logger):
    """Remembers what it is told to log."""

    name, version = "written", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, {key: value for key, value in metrics.items() if key.startswith("data/")}))

    def log_hyperparams(self, *args, **kwargs):
        pass


class Toy(LightningModule):
    """Weighs what it is given."""

    def __init__(self, dataset):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.dataset, self.seen = dataset, []

    def training_step(self, batch, batch_idx):
        self.seen += [(c.custom["kind"], measure(c, self.dataset, 0.08)) for c in batch["conversations"]]
        return self.layer(torch.ones(1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.fixture
def run(tokenizer, clips, tmp_path):
    """Trains some steps over four clips, one of which is lost meanwhile, and chats with a bad row among them."""
    rows = [{"id": f"a{n}", "audio_filepath": f"a{n}.ogg", "text": clip.text} for n, clip in enumerate(clips)]
    for number, clip in enumerate(clips):
        (tmp_path / f"a{number}.ogg").write_bytes(clip.path.read_bytes())
    (tmp_path / "asr.jsonl").write_text("\n".join(map(json.dumps, rows)))
    turns = [{"from": "User", "value": "hi"}, {"from": "Assistant", "value": "hello"}]
    (tmp_path / "text.jsonl").write_text(
        "\n".join(json.dumps({"conversations": turns[: 1 + bool(n)]}) for n in range(9))
    )
    kinds = {
        "asr": {"share": 0.6, "input_cfg": [{"type": "nemo", "manifest_filepath": str(tmp_path / "asr.jsonl")}]},
        "text": {"share": 0.4, "input_cfg": [{"type": "nemo_sft_jsonl", "paths": str(tmp_path / "text.jsonl")}]},
    }
    common = {"prompt_format": "chatml", "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08}
    cfg = OmegaConf.create(
        {"train_ds": {**common, "batch_tokens": 96, "max_bad_share": 0.3, "blend": {"kinds": kinds}}}
    )

    def train(steps, resume=None):
        dataset = VTBDataset(tokenizer)
        logger, model, data = Written(), Toy(dataset), VTBDataModule(cfg, tokenizer, dataset)
        trainer = Trainer(
            accelerator="cpu", max_steps=steps, logger=logger, log_every_n_steps=4, default_root_dir=tmp_path,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, data, ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / "x.ckpt")
        return logger.rows, model.seen

    return train


def test_shares_repeats_and_losses_are_logged(run, tmp_path):
    rows, seen = run(8)
    assert len(rows) == 2
    _, last = rows[-1]
    for field, unit in (
        ("supervised", "supervised_tokens"),
        ("total", "total_tokens"),
        ("audio_seconds", "audio_seconds"),
    ):
        amounts = {kind: sum(getattr(size, field) for k, size in seen if k == kind) for kind in ("asr", "text")}
        assert last[f"data/share_{unit}/asr"] == pytest.approx(amounts["asr"] / sum(amounts.values()), abs=0.02)
    heard = sum(kind == "asr" for kind, _ in seen)
    assert last[f"data/examples/asr/{tmp_path.name}"] == heard
    assert last[f"data/repeated/asr/{tmp_path.name}"] == heard - 4 > 0
    assert last["data/asked/asr"] == 0.6 and last["data/left_out/text/no_assistant_turn"] == 1


def test_counting_goes_on_after_a_resume(run, tmp_path):
    rows, _ = run(8)
    (tmp_path / "a2.ogg").unlink()
    more, _ = run(16, resume=tmp_path / "x.ckpt")
    key = f"data/examples/asr/{tmp_path.name}"
    assert more[0][1][key] > rows[-1][1][key]
    dropped = more[-1][1]["data/dropped/asr/missing_audio"]
    assert dropped > 0
    again, _ = run(20, resume=tmp_path / "x.ckpt")
    assert again[-1][1]["data/dropped/asr/missing_audio"] > dropped
