"""Trains VoiceTextBlender; the shape of NeMo's examples/speechlm2/salm_train.py.

python examples/vtb_train.py --config-name=quickstart trainer.max_steps=20
"""

from nemo.core.config import hydra_runner
from omegaconf import DictConfig

from nemo_vtb.training import train


@hydra_runner(config_path="../conf", config_name="quickstart")
def main(cfg: DictConfig) -> None:
    train(cfg)


if __name__ == "__main__":
    main()
