"""What an arm can do: everything is asked once, and a row is kept for every answer with the sums its score is made of.

``vtb eval`` asks a checkpoint with LoRA and without. In a study the side without is the same LLM in every arm, so it is
asked once, and in writing only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.data.written_twin import unknown_clip, written_twin
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task, answer_tasks
from nemo_vtb.evaluation.choose import option_nats
from nemo_vtb.evaluation.items import Item, measures
from nemo_vtb.evaluation.retention.divergence import answer_bytes, text_likelihoods
from nemo_vtb.evaluation.sets.choices import Choice
from nemo_vtb.evaluation.sets.multiturn import Script, run_scripts
from nemo_vtb.evaluation.sets.plan import Plan, Questions, Scripts, read_plan
from nemo_vtb.study.design.so_far import Part

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

Row = dict[str, Any]

# The score of a kind whose sums are an amount and what it is out of.
SCORES = {"asr": "wer", "sqa": "em", "mixed": "accuracy", "text": "accuracy"}


def read_questions(section: Mapping[str, Any], reading: Reading) -> Plan:
    """Reads what a study asks.

    Args:
        section: As in ``conf/study/measure.yaml``.
        reading: Of rows.

    Raises:
        VTBError: If a set cannot be read, or has a kind that a study does not measure.
    """
    plan = read_plan(section["eval"], reading)
    for part in plan.questions:
        if part.kind not in SCORES or part.probe:
            raise VTBError(f"measure.eval.sets.{part.name}: a study measures {', '.join(SCORES)} and multiturn")
    if section["eval"].get("bootstrap", 1) < 1:
        raise VTBError("measure.eval.bootstrap is 0; it is the number of test sets that are drawn for an interval")
    return plan


def check_questions(training: Mapping[str, Any], section: Mapping[str, Any]) -> None:
    """Refuses, before training, what could not be asked after it; see ``read_questions``.

    Args:
        training: The training config, whose model will be asked.
        section: See ``read_questions``.
    """
    model, data = training["model"], training["data"]["train_ds"]
    read_questions(section, Reading(model["audio_locator_tag"], data.get("token_equivalent_duration", 0.08)))


class Asking:
    """A model and what it is asked.

    Args:
        model: In evaluation mode.
        section: As in ``conf/study/measure.yaml``.

    Raises:
        VTBError: See ``read_questions``.
    """

    def __init__(self, model: "VoiceTextBlender", section: Mapping[str, Any]) -> None:
        self.model = model
        self.plan = read_questions(section, Reading(model.audio_locator_tag, model.token_equivalent_duration))
        self._dataset = VTBDataset(model.tokenizer, model.cfg.prompt_format, model.audio_locator_tag)
        self._batch_size = section.get("batch_size", 128)

    def parts(self) -> list[Part]:
        """All that the model is asked, as it is."""
        return [*self.answers(self.plan), *self.choices(), *self.likelihoods()]

    def answers(self, plan: Plan) -> list[Part]:
        """Parts with a row for each prompt and each conversation.

        It has ``set``, ``kind``, ``form``, ``id``, ``reference`` and ``said``. A prompt has ``score``, the sums of its
        measure (words wrong and words, or right and 1); a conversation has ``right``, a mark or null for each turn.
        """
        prompts = [Part(one.name, one.form, len(one.tasks), partial(self._prompts, one)) for one in plan.questions]
        talks = [
            Part(talk.name, "", Plan([], [talk], {}).answers, partial(self._conversations, talk))
            for talk in plan.scripts
        ]
        return [*prompts, *talks]

    def likelihoods(self) -> list[Part]:
        """Parts with a row for each held-out chat: ``bytes``, ``tokens``, their nats ``tuned``, ``base``, of ``kl``."""
        suites = self.plan.chats.items()
        return [Part(name, "", len(chats), partial(self._likelihoods, name, chats)) for name, chats in suites]

    def choices(self) -> list[Part]:
        """Parts with a row for each question of multiple choice: the option that was chosen and what each costs."""
        suites = self.plan.choices.items()
        return [Part(name, "", len(asked), partial(self._choices, name, asked)) for name, asked in suites]

    def _prompts(self, part: Questions, bar: Any) -> list[Row]:
        said = self._answered(part.tasks, part.max_new_tokens, bar)
        return [_prompt_row(part, task, answer) for task, answer in zip(part.tasks, said, strict=True)]

    def _likelihoods(self, name: str, chats: Sequence[Any], bar: Any) -> list[Row]:
        rows = []
        for chat, sums in zip(chats, text_likelihoods(self.model, self._dataset, chats, bar=bar).tolist(), strict=True):
            numbers = dict(zip(("tokens", "tuned", "base", "kl"), sums, strict=True))
            about = {"set": name, "kind": "likelihood", "form": "", "id": chat.id}
            rows.append({**about, "bytes": answer_bytes(chat), **numbers})
        return rows

    def _choices(self, name: str, asked: Sequence[Choice], bar: Any) -> list[Row]:
        rows = []
        for one, costs in zip(asked, option_nats(self.model, asked, bar=bar), strict=True):
            place = one.chosen(costs)
            about = {"set": name, "kind": "choices", "form": "", "id": one.id}
            said = {"reference": one.options[one.answer], "said": one.options[place]}
            score = [float(place == one.answer), 1.0]
            rows.append({**about, **said, "score": score, "nats": [round(cost, 3) for cost in costs]})
        return rows

    def _conversations(self, talk: Scripts, bar: Any) -> list[Row]:
        said = run_scripts(talk.scripts, lambda tasks: self._answered(tasks, talk.max_new_tokens, bar))
        return [
            {
                "set": talk.name,
                "kind": "multiturn",
                "form": "" if script.conversation.list_cuts() else "text",
                "id": script.conversation.id,
                "reference": [script.conversation.turns[place].value for place in script.answers],
                "said": answers,
                "right": script.right(answers),
            }
            for script, answers in zip(talk.scripts, said, strict=True)
        ]

    def _answered(self, tasks: Sequence[Task], limit: int, bar: Any) -> list[str]:
        return answer_tasks(self.model, self._dataset, tasks, limit, self._batch_size, bar=bar)


def written_parts(asking: Asking) -> list[Part]:
    """What the untouched LLM is asked where nothing is spoken: text suites, mixed prompts, conversations in writing.

    Args:
        asking: With any arm's model; its LoRA is switched off.
    """
    plain = [part for part in asking.plan.questions if "text" in (part.kind, part.form)]
    scripts = [
        Scripts(talk.name, [_in_writing(script) for script in talk.scripts], talk.max_new_tokens)
        for talk in asking.plan.scripts
    ]
    parts = [*asking.answers(Plan(plain, scripts, {})), *asking.choices(), *asking.likelihoods()]
    return [replace(part, ask=partial(_untouched, asking, part)) for part in parts]


def _untouched(asking: Asking, part: Part, bar: Any) -> list[Row]:
    with asking.model.backbone.without_lora():
        rows = part.ask(bar)
    return [{**row, "tuned": row["base"], "kl": 0.0} if row["kind"] == "likelihood" else row for row in rows]


def _prompt_row(part: Questions, task: Task, answer: str) -> Row:
    item = Item(part, task, {"tuned": answer})
    sums, _ = measures([item], "tuned")[SCORES[part.kind]]
    about = {"set": part.name, "kind": part.kind, "form": part.form, "id": item.id}
    return {**about, "reference": task.reference, "said": answer, "score": sums.items[0].tolist()}


def _in_writing(script: Script) -> Script:
    """The same conversation with the transcript in the place of each clip."""
    conversation = script.conversation
    if unknown_clip(conversation):
        raise VTBError(f"{conversation.id}: a clip without its transcript (text) cannot be asked in writing")
    return Script(written_twin(conversation), script.checks, script.group)
