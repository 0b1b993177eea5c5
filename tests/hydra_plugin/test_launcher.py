"""The one config line, on unchanged launchers of NeMo's shape."""

from omegaconf import OmegaConf
from scripts import launch


def test_groups_are_found_and_take_the_place_of_sections(launcher_folder):
    groups = ("+lora=r64", "+blend=paper", "+model=smollm2_whisper")
    code, said = launch(launcher_folder, "+vtb@_global_=default", *groups, "--cfg=job")
    config = OmegaConf.create(said[said.index("model:") :])
    assert code == 0 and config.model.pretrained_llm == "smollm2-135m-instruct"
    assert config.model.lora.r == 64 and config.data.train_ds.blend.unit == "steps"
    assert set(config.data.train_ds.blend.kinds.asr) == {"share", "input_cfg"}


def test_stock_salm_trains_our_blend_with_our_lora(launcher_folder):
    config = OmegaConf.load(launcher_folder / "launcher.yaml")
    config.model.prompt_format = "qwen"
    config.model.perception.modality_adapter = {
        "_target_": "nemo.collections.speechlm2.modules.perception.IdentityConnector",
        "d_model": 32,
    }
    train = config.data.train_ds
    # Stock SALM crashes on a batch without audio, so there is one kind.
    blend = {"kinds": {"asr": {**train.blend.kinds.asr, "share": 1.0}}}
    keys = {key: train[key] for key in ("audio_locator_tag", "token_equivalent_duration")}
    common = {"prompt_format": "qwen", "seed": 0, "shard_seed": 0, "batch_size": 2}
    train_ds = {**common, "input_cfg": [{"type": "vtb_blend", "blend": blend, **keys}]}
    config.data = {"train_ds": train_ds, "validation_ds": {**common, "datasets": {"none": train_ds}}}
    config.trainer.limit_val_batches = 0
    OmegaConf.save(config, launcher_folder / "launcher.yaml")
    code, said = launch(launcher_folder, "+vtb@_global_=stock", "+lora=r8")
    assert code == 0 and "TRAINED SALM SALMDataset DataModule 1 8" in said, said


def test_a_launcher_without_the_names_stops(launcher_folder):
    script = launcher_folder / "launcher.py"
    script.write_text(script.read_text().replace("SALM, DataModule, SALMDataset", "SALM, DataModule"))
    code, said = launch(launcher_folder, "+vtb@_global_=default")
    assert code != 0 and "does not define SALMDataset" in said and "TRAINED" not in said


def test_callbacks_are_not_lost_to_a_cluster(launcher_folder):
    config = OmegaConf.load(launcher_folder / "launcher.yaml")
    stops = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "loss"}
    last = {"_target_": "nemo_vtb.callbacks.last_checkpoint.LastCheckpoint", "every_n_train_steps": 20}
    config.trainer.callbacks = [stops]
    OmegaConf.save(config, launcher_folder / "launcher.yaml")
    variables = {"VTB_RUN": str(launcher_folder / "run"), "VTB_NODES": "1", "VTB_DEVICES": "1"}
    code, said = launch(launcher_folder, "+vtb@_global_=default", "+cluster=slurm", **variables)
    assert code != 0 and "EarlyStopping would be lost" in said and "TRAINED" not in said, said
    text = OmegaConf.to_yaml({**config, "trainer": {**config.trainer, "callbacks": [stops, last]}})
    (launcher_folder / "launcher.yaml").write_text(f"defaults: [cluster: slurm, _self_]\n{text}")
    code, said = launch(launcher_folder, "+vtb@_global_=default", "--cfg=job", **variables)
    assert code == 0 and "EarlyStopping" in said and "every_n_train_steps: 20" in said and "resume_if_exists" in said


def test_a_requeued_job_goes_on(launcher_folder):
    config = OmegaConf.load(launcher_folder / "launcher.yaml")
    for key in ("logger", "enable_checkpointing", "devices"):
        del config.trainer[key]
    OmegaConf.save(config, launcher_folder / "launcher.yaml")
    script = launcher_folder / "launcher.py"
    text = script.read_text().replace("    model = ", "    exp_manager(trainer, cfg.exp_manager)\n    model = ")
    script.write_text("from nemo.utils.exp_manager import exp_manager\n" + text)
    run = launcher_folder / "run"
    variables = {"VTB_RUN": str(run), "VTB_NODES": "1", "VTB_DEVICES": "1"}
    line = ("+vtb@_global_=default", "+cluster=slurm")
    for steps in (1, 3):
        code, said = launch(launcher_folder, *line, f"trainer.max_steps={steps}", **variables)
        assert code == 0 and f"VTBDataModule {steps}" in said, said
        assert (run / "checkpoints" / "progress").read_text() == f"{steps} {steps}\n"
    assert "Restored all states" in said and list(run.glob("events.out.tfevents*"))
