"""What the test puts into documented commands so that they end in seconds, and which it does not run, and why."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """More arguments for the commands that fit; ``{name}`` is filled in from the scratch folder's paths."""

    fits: str
    more: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class NotRun:
    """Commands that are only looked at.

    Attributes:
        fits: Searched for in the command.
        how: ``parse``: the program reads its arguments and ends; ``compose``: the arguments of ``vtb`` are read and the
            config is composed, as for every command; ``make``: make says what it would do; ``nothing``.
        why: The reason.
    """

    fits: str
    how: str
    why: str


_TINY_MODEL = (
    "model.pretrained_llm={llm}",
    "model.pretrained_asr={whisper}",
    "model.perception.modality_adapter.d_model=32",
    "model.perception.modality_adapter.n_heads=4",
    "model.encoder_cache=false",
    "data.train_ds.batch_tokens=1024",
    "trainer.max_steps=1",
    "trainer.val_check_interval=1",
    "++trainer.limit_val_batches=0",
    "threads=1",
)
_ONE_QUESTION = (
    "~held_out.asked",
    "+held_out.asked=[{{kind: asr, group: few, type: nemo, manifest_filepath: manifest.jsonl}}]",
    "held_out.text={scratch}/text.jsonl",
    "held_out.text_suite={scratch}/suite.jsonl",
    "++trainer.limit_val_batches=1",
)
LIMITS = (
    Limit(
        r"^(vtb (train|quickstart)|python examples/vtb_train\.py) ",
        _TINY_MODEL,
        "a tiny random LLM and encoder, one step",
    ),
    Limit(
        r"^vtb train .*quantization=bnb_",
        ("++model.quantization=torchao_int8",),
        "the package that is installed; examples/support_matrix_adapters.py proves the other",
    ),
    Limit(r"^vtb train .*encoders\.hugging_face\.", ("model.pretrained_asr={wavlm}",), "a tiny random WavLM"),
    Limit(
        r"^vtb train .*init_from=shipped",
        (
            "model.init_from=runs/quickstart/last.ckpt",
            "model.lora.r=4",
            "model.lora.lora_alpha=8",
            "model.lora.target_modules=[q_proj,v_proj]",
            "+model.perception.modality_adapter.n_layers=1",
        ),
        "the trained weights of a tiny model",
    ),
    Limit(
        r"^vtb train .*model=megatron",
        ("model.tensor_model_parallel_size=1", "trainer.devices=1"),
        "one process; tests/modules/megatron runs several",
    ),
    Limit(r"^vtb quickstart ", _ONE_QUESTION, "one clip and one prompt are asked"),
    Limit(r"^vtb data report", ("--steps=2",), "two steps are simulated"),
    Limit(r"^vtb data lint --config-name", ("--no-decode", "--processes=1"), "clips are not decoded"),
    Limit(
        r"^vtb eval ",
        (
            "~eval.sets",
            "+eval.sets.few={{kind: asr, at_most: 1, type: nemo, manifest_filepath: manifest.jsonl}}",
            "+eval.text.short.at_most=2",
            "+eval.text.instructions.at_most=1",
            "+eval.text.chat.at_most=1",
            "~eval.text.arithmetic",
            "eval.bootstrap=20",
            "eval.max_new_tokens=4",
            "threads=1",
        ),
        "one clip and three prompts are asked",
    ),
    Limit(r"^vtb synth reply ", ("recording.words=[1,3]", "reply.tokens=4"), "few replies of a tiny LLM"),
    Limit(
        r"^vtb judge ", ("llm.backend=hf", "llm.model={judge}", "bootstrap=20", "threads=1"), "the judge is a tiny LLM"
    ),
    Limit(r"^vtb lm-eval ", ("--limit=1",), "one question"),
    Limit(
        r"^vtb synth text ", ("count=2", "user.tokens=[2,24]", "answer.tokens=[2,24]"), "two conversations, short ones"
    ),
    Limit(r"^vtb synth speech ", ("speak.variants=1",), "each chat is spoken once"),
    Limit(r"^vtb synth qa ", ("reply.tokens=40",), "short replies"),
    Limit(
        r"vtb synth (text|qa|reply) .*(-gguf|=served)",
        ("llm.base_url={server}", "llm.model={served}"),
        "a server that runs",
    ),
    Limit(r"^vtb synth .*llm.backend=hf", ("llm.model={llm}",), "a tiny LLM"),
    Limit(
        r"^vtb export (runs/|FOLDER)",
        ("--llm=org/llm", "--encoder=org/encoder"),
        "both are folders here, which no one else has",
    ),
    Limit(
        r"^vtb launch slurm (?!.*--parts)",
        ("--nodes=2", "--gpus-per-node=0", "--cpus-per-task=1", "--dry-run"),
        "a cluster of two small nodes is asked; tests/launch submits to it",
    ),
    Limit(
        r"^vtb launch slurm .*--parts",
        ("--gpus-per-node=0", "--cpus-per-task=1", "--dry-run"),
        "each part has a node of its own",
    ),
    Limit(r"^python examples/llama_server\.py ", ("--port={port}",), "a port of its own"),
    Limit(
        r"^python salm_train\.py .*=stock",
        ("--config-name=stock_launcher",),
        "a config of the shape that stock SALM reads",
    ),
    Limit(r"^python salm_(eval|generate)\.py", ("inputs={clip}",), "the test's script takes one recording"),
)
# Words that stand for something of the reader's, by page.
PLACEHOLDERS = {"examples/checkpoint/README.md": {"FOLDER": "runs/quickstart/last.ckpt", "WHOLE": "runs/whole"}}
NOT_RUN = (
    NotRun(r"eval/public/", "compose", "it reads a copy of a benchmark; tests/evaluation/public makes one of each"),
    NotRun(r"--tasks ifeval,mmlu", "compose", "lm-eval fetches its data; tests/evaluation runs a task of one question"),
    NotRun(
        r"model=(canary|parakeet|whisper)_|^vtb train --config-name=canary_gemma ",
        "compose",
        "its weights come from a hub; tests/models/test_presets.py builds its shapes, tests/cli trains it as a toy",
    ),
    NotRun(r"support_matrix\.py --sample", "parse", "tests/modules/test_support_of_llms.py runs it"),
    NotRun(r"tutorials/run_notebooks", "nothing", "tests/tutorials runs every notebook"),
    NotRun(r"^make ", "make", "it would make an environment; what it calls is run as vtb quickstart and as this suite"),
    NotRun(r"coverage (run|combine|report)", "nothing", "it runs this whole suite, and reads what that has counted"),
    NotRun(r"^(pip|apt-get) ", "nothing", "it changes the machine"),
    NotRun(r"^for package in \*\.deb", "nothing", "it unpacks what apt-get would have fetched"),
    NotRun(
        r"^vtb doctor --slurm", "compose", "it finds fault with the tests' cluster; tests/launch/test_cluster_check.py"
    ),
    NotRun(r"^vtb lmms-eval ", "compose", "its package is in no environment of development; tests/evaluation has it"),
    NotRun(r"^vtb (serve|demo) ", "compose", "it serves until it is stopped; tests/inference/serving has both"),
    NotRun(r"from openai import", "nothing", "it needs that server; tests/inference/serving asks one with this client"),
    NotRun(r"vllm serve ", "nothing", "vLLM is in an environment of its own; examples/vllm_check.py runs the command"),
    NotRun(r"examples/vllm_check\.py", "parse", "minutes, and it needs vLLM"),
    NotRun(
        r"benchmarks/mutants\.py",
        "parse",
        "it runs tests a hundred times; tests/benchmarks/test_mutants.py has its faults",
    ),
    NotRun(
        r"benchmarks/chat\.py --json",
        "parse",
        "minutes, of the real LLM; tests/benchmarks/test_chat_benchmark.py runs it on a tiny one",
    ),
    NotRun(
        r"benchmarks/visitors\.py --json",
        "parse",
        "minutes, of the real LLM; tests/benchmarks/test_visitors.py runs it on a tiny one",
    ),
    NotRun(
        r"^sbatch .*recipe\.sbatch",
        "nothing",
        "GPUs and corpora; tests/launch/test_recipe_chain.py runs it on both small",
    ),
    NotRun(r"^srun ", "nothing", "it needs a job of a cluster; tests/launch/test_cluster_check.py has one"),
    NotRun(r"^torchrun .*nemo_vtb\.cli", "nothing", "tests/modules/megatron/test_answers.py asks over three ranks"),
    NotRun(r"^nemo ", "nothing", "it submits to a cluster; tests/launch/test_recipes.py makes its script"),
    NotRun(r"examples/corpora/build_", "parse", "it makes the shipped corpora again: hours, and packages of Debian"),
    NotRun(r"examples/corpora/take_made\.py", "parse", "it takes what a run at length has made"),
    NotRun(
        r"benchmarks/carried/(pack|job)\.py",
        "parse",
        "minutes, and the second needs a GPU; tests/benchmarks/test_carried.py packs and runs it by hand",
    ),
    NotRun(r"runs/carried/run\.py", "nothing", "it is made by the command before it, and needs a GPU"),
    NotRun(r"--device cuda", "parse", "it needs a GPU; tests/benchmarks runs the same at tiny sizes"),
    NotRun(
        r"^vtb eval shipped .*threads=1",
        "compose",
        "half an hour; the tiny checkpoint is asked instead, on other pages",
    ),
    NotRun(r"init_from=shipped", "compose", "it fits one LLM; test_init_from.py begins with that one"),
    NotRun(r"vtb study .*examples/benchmarks/results", "compose", "tests/study/test_committed_study.py runs it whole"),
    NotRun(
        r"--config-name=study_train",
        "compose",
        "its data are made by a command first; tests/cli/test_every_config.py trains it on a few clips",
    ),
    NotRun(r"vtb study ", "compose", "tests/study/test_study_command.py runs the command on a study of two tiny arms"),
)


def not_run(text: str) -> NotRun | None:
    """The first entry that fits a command."""
    return next((entry for entry in NOT_RUN if re.search(entry.fits, text)), None)


def limits(words: list[str], paths: dict[str, str]) -> list[str]:
    """The words that all limits which fit add to a command."""
    text = " ".join(words)
    return [word.format(**paths) for limit in LIMITS if re.search(limit.fits, text) for word in limit.more]
