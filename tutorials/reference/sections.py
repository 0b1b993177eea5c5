"""Which sections there are on which page, and where the code says what they hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hosts
from hydra.utils import get_class
from page import Section
from rows import REQUIRED, Row, of_class, of_dataclass, of_host, of_keys, with_defaults

_OF_FILE = ("name", "sha256")
_SOURCE = "input_cfg[]"


@dataclass(frozen=True)
class Page:
    """A page of keys.

    Attributes:
        name: Of the file.
        title: Its heading.
        intro: Below it.
        sections: Makes its tables.
    """

    name: str
    title: str
    intro: str
    sections: Callable[[], list[Section]]


def training() -> list[Section]:
    """Of a training config, data apart."""
    from nemo_vtb import registry
    from nemo_vtb.hydra_plugin.use_vtb import UseVTB
    from nemo_vtb.models.options import ModelSection, RetentionOptions, StepOptions
    from nemo_vtb.modules.alignment import EmbeddingAlignment
    from nemo_vtb.optim.build import REFUSED as REFUSED_CLASSES
    from nemo_vtb.parts.lora_fields import REFUSED as REFUSED_LORA
    from nemo_vtb.parts.lora_fields import SERVED
    from nemo_vtb.switches.precision import SPELLINGS
    from nemo_vtb.switches.refusals import EXP_MANAGER, TRAINER
    from nemo_vtb.training import TOP_KEYS

    lora = hosts.lora_defaults()
    served = [
        Row(key, allowed, lora[key], hosts.LORA[key]) for key, (_, allowed) in SERVED.items() if key != "peft_type"
    ]
    trainer, manager = ({one.key: one.why for one in refusals} for refusals in (TRAINER, EXP_MANAGER))
    quantization = of_host(hosts.quantization_defaults(), hosts.QUANTIZATION, {})
    switches = of_host(hosts.trainer_defaults(), hosts.TRAINER, trainer, {"precision": ", ".join(SPELLINGS)})
    class_of = [
        Row("_target_", "str", REQUIRED, "The full name of a class of PyTorch's or NeMo's."),
        Row("lr", "float of at least 0", REQUIRED, "Learning rate of what no pattern of model.lr_scale names."),
        Row("ARGUMENT", "anything", None, "Any argument of that class."),
    ]
    rate = [class_of[0], Row("max_steps", "int", None, "Of NeMo's; -1 stands for the length of the run."), class_of[2]]
    return [
        Section("The whole config", "", of_keys(TOP_KEYS)),
        Section("`model`", "model", of_dataclass(ModelSection)),
        Section(
            "`model`: how the step runs",
            "model",
            of_dataclass(StepOptions),
            "See [Options of the step](step_options.md).",
        ),
        Section("`model.retention`", "model.retention", of_dataclass(RetentionOptions)),
        Section(
            "`model.lora`, `model.encoder_lora`",
            "model.lora",
            served,
            "Fields of `peft.LoraConfig`, the same for the speech encoder. See [Adapters](adapters_and_encoders.md).",
            {f"model.lora.{key}": why for key, why in REFUSED_LORA.items()},
        ),
        Section(
            "`model.quantization`", "model.quantization", quantization, "Fields of `transformers.BitsAndBytesConfig`."
        ),
        Section("`model.alignment`", "model.alignment", of_class(EmbeddingAlignment, ("hidden_size",))),
        Section("`model.optimizer`", "model.optimizer", class_of),
        Section("`model.lr_scheduler`", "model.lr_scheduler", rate, "", dict(REFUSED_CLASSES)),
        *(_of_target(target) for target in registry.ALLOWED_TARGETS),
        Section("`trainer`", "trainer", switches, "Lightning's Trainer. See [Switches](training.md#switches)."),
        Section(
            "`exp_manager`",
            "exp_manager",
            of_host(hosts.exp_manager_defaults(), hosts.exp_manager_lines(), manager),
            "NeMo's.",
        ),
        *(_of_target(target) for target in registry.ALLOWED_OF_TRAINER if of_class(get_class(target))),
        Section("The one config line", "hydra.callbacks.vtb", of_class(UseVTB), "See [In your launcher](launcher.md)."),
    ]


def data() -> list[Section]:
    """Of the section ``data``."""
    from nemo_vtb.data.augmentation import AUGMENT_KEYS
    from nemo_vtb.data.conversations.prompt_pool import POOL_KEYS, Wording
    from nemo_vtb.data.conversations.speak import KEYS as SPEAK
    from nemo_vtb.data.data_types import BLEND_KEYS
    from nemo_vtb.data.options import BlendSection, Entry, HeldOutSection, Kind, TrainSection
    from nemo_vtb.data.sources.source import GROUP_KEYS

    entry = of_dataclass(Entry)
    return [
        Section("`data.train_ds`", "data.train_ds", of_dataclass(TrainSection)),
        Section("`data.train_ds.blend`", "data.train_ds.blend", of_dataclass(BlendSection)),
        Section("An entry of `input_cfg`", _SOURCE, entry, "See [Formats of rows](formats.md)."),
        Section("A group of entries", _SOURCE, of_keys(GROUP_KEYS), "An entry of `type: group`."),
        Section("An entry of type `vtb_blend`", "input_cfg[]", of_keys(BLEND_KEYS), "In NeMo's own loaders."),
        Section("`speak`", "data.train_ds.blend.kinds.NAME.speak", of_keys(SPEAK)),
        *(
            Section(f"`augment.{name}`", f"data.train_ds.augment.{name}", of_keys(keys))
            for name, keys in AUGMENT_KEYS.items()
        ),
        Section("`data.validation_ds`", "data.validation_ds", of_dataclass(HeldOutSection)),
        Section("A kind of `data.validation_ds`", "data.validation_ds.kinds.NAME", of_dataclass(Kind)),
        Section("A file of `conf/prompts`", "prompts", of_keys(POOL_KEYS), "Named by `prompts` of an entry."),
        Section("A wording there", "prompts.TASK.LANGUAGE[]", of_dataclass(Wording)),
    ]


def measuring() -> list[Section]:
    """Of what is asked before, after and beside a run."""
    from nemo_vtb.cli.judge import JudgeOptions as JudgeConfig
    from nemo_vtb.evaluation.judged import JudgeOptions
    from nemo_vtb.evaluation.judging.prompts import JudgePrompt
    from nemo_vtb.evaluation.public.catalog import KEYS as PUBLIC
    from nemo_vtb.evaluation.run import EvalOptions
    from nemo_vtb.evaluation.sets.held_out import OWN_KEYS
    from nemo_vtb.evaluation.sets.plan import OPTIONS
    from nemo_vtb.evaluation.sets.suites import KEYS as SUITE
    from nemo_vtb.quickstart.tasks import HeldOut
    from nemo_vtb.study.arms import Arm
    from nemo_vtb.study.claims import CLAIM_KEYS
    from nemo_vtb.study.evidence import KEYS as RULE
    from nemo_vtb.study.plan import StudySection

    source = "Beside the keys of an [entry of `input_cfg`](reference_data.md#an-entry-of-input_cfg)."
    asked = {key: one for key, one in OWN_KEYS.items() if key != "group"}
    return [
        Section("`held_out` of a training config", "held_out", of_dataclass(HeldOut)),
        Section("An entry of `held_out.asked`", "held_out.asked[]", of_keys(OWN_KEYS), source),
        Section("`vtb eval`", "", of_dataclass(EvalOptions)),
        Section("A set of `vtb eval`", "eval.sets.NAME", of_keys(asked | OPTIONS), source),
        Section(
            "A set of a public benchmark",
            "eval.sets.NAME",
            of_keys(PUBLIC),
            "In the place of a source. See [Public benchmarks](benchmarks.md).",
        ),
        Section("A text suite", "eval.text.NAME", of_keys(SUITE), "The same under `model.retention.text`."),
        Section("The judge of `vtb eval`", "eval.judge", of_dataclass(JudgeOptions)),
        Section("`vtb judge`", "", with_defaults(of_dataclass(JudgeConfig), "eval/judge")),
        Section("A file of `conf/eval/prompts`", "prompts", of_dataclass(JudgePrompt, without=_OF_FILE)),
        Section("`vtb study`", "", of_dataclass(StudySection)),
        Section("An arm of a study", "arms.NAME", of_dataclass(Arm), "`title` is its name by default."),
        Section("A claim of a study", "claims[]", of_keys(CLAIM_KEYS)),
        Section("A rule of a claim", "claims[].evidence[]", of_keys(RULE)),
    ]


def making_data() -> list[Section]:
    """Of the makers of data."""
    from nemo_vtb.inference.llms.choose import LLMOptions
    from nemo_vtb.options import JOB_KEYS
    from nemo_vtb.synthesis.qa.options import QAOptions
    from nemo_vtb.synthesis.qa.prompts import CheckPrompt, QAPrompt
    from nemo_vtb.synthesis.replay.options import ReplayOptions
    from nemo_vtb.synthesis.replay.prompts import ReplayPrompts
    from nemo_vtb.synthesis.reply.options import OwnReplyOptions
    from nemo_vtb.synthesis.spoken_turns.options import SpeechOptions

    def made(name: str, kind: Any) -> list[Row]:
        return with_defaults(of_dataclass(kind), f"synth/{name}")

    return [
        Section("Every `vtb synth`", "", with_defaults(of_keys(JOB_KEYS), "synth/qa")),
        Section("`vtb synth text`", "", made("text", ReplayOptions)),
        Section("`vtb synth qa`", "", made("qa", QAOptions)),
        Section("`vtb synth reply`", "", made("reply", OwnReplyOptions)),
        Section("`vtb synth speech`", "", made("speech", SpeechOptions)),
        Section("The LLM", "llm", of_dataclass(LLMOptions), "Of `vtb synth text` and `qa`, and of a judge."),
        Section("A file of `conf/synth/prompts/text`", "prompts", of_dataclass(ReplayPrompts, without=_OF_FILE)),
        Section("A file of `conf/synth/prompts/qa`", "prompts", of_dataclass(QAPrompt, without=_OF_FILE)),
        Section("A file of `conf/synth/prompts/qa_check`", "prompts", of_dataclass(CheckPrompt, without=_OF_FILE)),
    ]


def _of_target(target: str) -> Section:
    name = target.rpartition(".")[2]
    return Section(f"`{name}`", name, of_class(get_class(target)), f"`_target_: {target}`")


_INTRO = (
    "Every key that is read, from the code that reads it; any other key ends a run in one sentence. All pages: "
    "[Reference](reference.md)."
)
PAGES = (
    Page("reference_training", "Reference: training", _INTRO, training),
    Page("reference_data", "Reference: data", _INTRO, data),
    Page("reference_measuring", "Reference: measuring", _INTRO, measuring),
    Page("reference_making_data", "Reference: making data", _INTRO, making_data),
)
