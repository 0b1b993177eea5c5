"""A launcher of the shape of NeMo's salm_train.py, written for the test."""

from lightning.pytorch import Trainer
from nemo.collections.speechlm2 import SALM, DataModule, SALMDataset
from nemo.core.config import hydra_runner
from nemo.utils.trainer_utils import resolve_trainer_cfg
from omegaconf import OmegaConf


@hydra_runner(config_path=".", config_name="launcher")
def train(cfg):
    OmegaConf.resolve(cfg)
    trainer = Trainer(**resolve_trainer_cfg(cfg.trainer))
    model = SALM(OmegaConf.to_container(cfg.model, resolve=True))
    dataset = SALMDataset(tokenizer=model.tokenizer)
    datamodule = DataModule(cfg.data, tokenizer=model.tokenizer, dataset=dataset)
    trainer.fit(model, datamodule)
    names = [type(part).__name__ for part in (model, dataset, datamodule)]
    print("TRAINED", *names, trainer.global_step, model.cfg.get("lora", {}).get("r"))


if __name__ == "__main__":
    train()
