"""Other packages' modules that commands, notebooks and ranks import: once, in the process that is forked for each."""

MODULES = (
    "numba llvmlite numba.typed "
    "torch hydra omegaconf lightning.pytorch transformers peft lhotse nemo.collections.speechlm2 "
    "nemo.utils.exp_manager nemo.utils.trainer_utils nemo.core.config torch.distributed.fsdp "
    "torch.distributed.checkpoint.state_dict babel.dates"
).split()
# Imported last.
FROZEN = "frozen"
