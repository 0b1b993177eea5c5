"""An LLM of Hugging Face in this process."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.llms.chat_frame import ChatFrame
from nemo_vtb.inference.llms.decode import Guide, cut_at, decode
from nemo_vtb.inference.llms.interface import Reply, Sampling, without_thoughts
from nemo_vtb.modules.llm.parts import position_limit


class HuggingFaceLLM:
    """A causal LM and its tokenizer; see ``LLM``.

    Args:
        model: An asset, a folder or a hub id.
        device: As PyTorch names it.
        dtype: Of the weights.
        batch_size: Prompts at a time; those alike in length go together.

    Raises:
        VTBError: If the model cannot be had.
    """

    def __init__(self, model: str, device: str = "cpu", dtype: str = "float32", batch_size: int = 16) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from nemo_vtb.assets import resolve

        self.name, self._batch_size = model, batch_size
        folder = resolve(model)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
            self._model = loaded.to(device).eval()
        except (OSError, ValueError, RuntimeError) as error:
            raise VTBError(f"llm.model={model} on {device}: {error}") from error
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._ends = end_tokens(self._model, self._tokenizer)
        # What the tokenizer would take for a mark of the template, in text as well.
        self._marks = [str(mark) for mark in self._tokenizer.added_tokens_decoder.values() if mark.special]
        self._guide_tokenizer: Any = None

    def chat(self, conversations: Sequence[Sequence[Mapping[str, str]]], sampling: Sequence[Sampling]) -> list[Reply]:
        """See ``LLM``; marks of the template that stand in a turn reach the model as ordinary text.

        Raises:
            VTBError: If the model has no chat template.
        """
        if not self._tokenizer.chat_template:
            raise VTBError(f"llm.model={self.name} has no chat template: name an instruct model")
        turns = [[{**turn, "content": self._plain(turn["content"])} for turn in one] for one in conversations]
        asked = [self._tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in turns]
        return [replace(reply, text=without_thoughts(reply.text)) for reply in self._reply(asked, sampling)]

    def complete(self, prompts: Sequence[str], sampling: Sequence[Sampling]) -> list[Reply]:
        """See ``LLM``."""
        first = self._tokenizer("")["input_ids"][:1]
        begin = self._tokenizer.bos_token or ""
        opens = begin if first == [self._tokenizer.bos_token_id] else ""
        return self._reply([opens + prompt.removeprefix(begin) for prompt in prompts], sampling)

    def _reply(self, prompts: Sequence[str], sampling: Sequence[Sampling]) -> list[Reply]:
        replies: dict[int, Reply] = {}
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), self._batch_size):
            part = order[start : start + self._batch_size]
            batch = self._tokenizer(
                [prompts[i] for i in part],
                padding=True,
                padding_side="left",
                add_special_tokens=False,
                return_tensors="pt",
            )
            rooms = [self._room(int(length)) for length in batch["attention_mask"].sum(1)]
            how = [
                replace(sampling[i], max_tokens=min(sampling[i].max_tokens, room))
                for i, room in zip(part, rooms, strict=True)
            ]
            cuts, guides = [cut_at(one.stop) for one in how], [self._guide(one.schema) for one in how]
            decoded = decode(self._model, self._tokenizer, batch, how, self._ends, cuts, guides)
            replies.update(zip(part, decoded, strict=True))
        return [replies[i] for i in range(len(prompts))]

    def _room(self, asked: int) -> int:
        """Tokens that a reply may have behind a prompt; beyond its positions a model writes whatever comes."""
        most = position_limit(self._model)
        if asked >= most:
            raise VTBError(
                f"llm.model={self.name} has {most:,} positions and a prompt takes {asked:,}: shorten what is asked, "
                "e.g. recording.characters, or name a model that has more"
            )
        return most - asked

    def _guide(self, schema: Mapping[str, Any] | None) -> Guide | None:
        if schema is None:
            return None
        try:
            from llguidance import hf
        except ImportError as error:
            raise VTBError(
                "llm.backend=hf needs llguidance to hold replies to a JSON schema: pip install llguidance"
            ) from error
        if self._guide_tokenizer is None:
            vocabulary = self._model.get_output_embeddings().weight.shape[0]
            self._guide_tokenizer = hf.from_tokenizer(self._tokenizer, vocabulary, sorted(self._ends))
        return SchemaGuide(self._guide_tokenizer, schema)

    def _plain(self, text: str) -> str:
        for mark in self._marks:
            if mark in text:
                text = text.replace(mark, f"{mark[0]} {mark[1:]}")
        return text


class SchemaGuide:
    """Holds a reply to a JSON schema, without white space between its parts; see ``Guide``.

    Args:
        tokenizer: Of llguidance.
        schema: JSON schema.

    Raises:
        VTBError: If the schema asks for what llguidance cannot do.
    """

    def __init__(self, tokenizer: Any, schema: Mapping[str, Any]) -> None:
        from llguidance import LLMatcher

        compact = {
            **schema,
            "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
        }
        self._matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(json.dumps(compact)))
        self._check()

    def allowed(self) -> Any:
        """See ``Guide``."""
        import torch

        words = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        bits = words[:, None] >> torch.arange(8, dtype=torch.uint8) & 1
        self._check()
        return bits.flatten().bool()

    def take(self, token: int) -> bool:
        """See ``Guide``."""
        self._matcher.consume_token(token)
        self._check()
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise VTBError(f"the JSON schema of the reply cannot be followed: {self._matcher.get_error()}")


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Returns the ids that end a reply: those of the model's settings, and what closes a turn of the template."""
    named = getattr(model.generation_config, "eos_token_id", None)
    ends = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])}
    if tokenizer.chat_template:
        try:
            close = ChatFrame.from_tokenizer(tokenizer).answer_close
        except VTBError:  # a template that does not cut into turns; the model's settings name its end
            close = ""
        ends.update(tokenizer.encode(close, add_special_tokens=False)[:1])
    return ends - {None}
