"""A chat template that writes what training wrote, for programs that know nothing of NeMo's prompt formats.

It takes a message's content as a text or as typed parts, sets the audio placeholder where a recording stands, and sets
parts and neighbouring messages of one role apart as training does. A text part that spells a control token or the
placeholder is written with a space in it, so that it is neither.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nemo_vtb.parts.prompts.turn_mask import answer_ending, own_template

if TYPE_CHECKING:
    from nemo.collections.common.prompts import PromptFormatter

_WALK = """\
{%- set ns = namespace(turns=[], text='') -%}
{%- set controls = CONTROLS -%}
{%- for message in messages -%}
  {%- set ns.text = '' -%}
  {%- if message.content is string -%}
    {%- set ns.text = message.content -%}
    {%- for control in controls -%}
      {%- set ns.text = ns.text | replace(control, control[0] ~ ' ' ~ control[1:]) -%}
    {%- endfor -%}
  {%- else -%}
    {%- for part in message.content -%}
      {%- set piece = namespace(text=AUDIO) -%}
      {%- if part.type == 'text' -%}
        {%- set piece.text = part.text -%}
        {%- for control in controls + [AUDIO] -%}
          {%- set piece.text = piece.text | replace(control, control[0] ~ ' ' ~ control[1:]) -%}
        {%- endfor -%}
      {%- endif -%}
      {%- if ns.text and piece.text and not ns.text[-1:].isspace() and not piece.text[:1].isspace() -%}
        {%- set ns.text = ns.text ~ ' ' -%}
      {%- endif -%}
      {%- set ns.text = ns.text ~ piece.text -%}
    {%- endfor -%}
  {%- endif -%}
  {%- if ns.turns and ns.turns[-1].role == message.role -%}
    {%- set before = ns.turns[-1].content -%}
    {%- set apart = '\\n\\n' if message.role == 'system' else ' ' -%}
    {%- if not before or not ns.text or before[-1:].isspace() or ns.text[:1].isspace() -%}{%- set apart = '' -%}
    {%- endif -%}
    {%- set ns.turns = ns.turns[:-1] + [{'role': message.role, 'content': before ~ apart ~ ns.text}] -%}
  {%- else -%}
    {%- set ns.turns = ns.turns + [{'role': message.role, 'content': ns.text}] -%}
  {%- endif -%}
{%- endfor -%}
"""
_FOLD = """\
{%- if ns.turns and ns.turns[0].role == 'system' -%}
  {%- set said = ns.turns[0].content ~ '\\n\\n' ~ ns.turns[1].content -%}
  {%- set ns.turns = [{'role': 'user', 'content': said}] + ns.turns[2:] -%}
{%- endif -%}
"""


def exported_template(formatter: "PromptFormatter", audio_tag: str, controls: Sequence[str]) -> str:
    """Writes the template.

    Args:
        formatter: The model's prompt format.
        audio_tag: The placeholder of a recording.
        controls: Texts that a tokenizer takes for control tokens.

    Returns:
        Jinja, as ``transformers`` renders it.
    """
    spelt = [control for control in controls if control != audio_tag]
    walk = _WALK.replace("CONTROLS", _literal(spelt)).replace("AUDIO", _literal(audio_tag))
    own = own_template(formatter)
    return walk + (_of_format(formatter) if own is None else _around(own))


def _around(own: Any) -> str:
    """The tokenizer's own template, given turns whose content is what it expects."""
    lines = _FOLD if own.folds else ""
    if own.in_parts:
        lines += (
            "{%- set written = namespace(turns=[]) -%}\n{%- for turn in ns.turns -%}\n"
            "  {%- set parts = [{'type': 'text', 'text': turn.content}] -%}\n"
            "  {%- set written.turns = written.turns + [{'role': turn.role, 'content': parts}] -%}\n"
            "{%- endfor -%}\n{%- set messages = written.turns +%}"
        )
    else:
        lines += "{%- set messages = ns.turns +%}"
    return lines + own.source


def _of_format(formatter: "PromptFormatter") -> str:
    roles, answer = formatter.get_roles(), formatter.OUTPUT_ROLE
    lines = [] if "system" in roles else [_FOLD]
    begin = formatter.tokenizer.ids_to_tokens([formatter.tokenizer.bos])[0] if formatter.INSERT_BOS else ""
    begin += formatter.get_template("preamble") if "preamble" in roles else ""
    if begin:
        lines.append(f"{{{{- {_literal(begin)} -}}}}\n")
    lines.append("{%- for turn in ns.turns -%}\n")
    for number, role in enumerate(role for role in ("system", "user", answer) if role in roles):
        before, _, behind = formatter.get_template(role).partition("|message|")
        if role == answer and not answer_ending(formatter):
            behind += formatter.tokenizer.ids_to_tokens([formatter.tokenizer.eos])[0]
        asked = "assistant" if role == answer else role
        lines.append(
            f"  {{%- {'elif' if number else 'if'} turn.role == {_literal(asked)} -%}}"
            f"{{{{- {_literal(before)} ~ turn.content ~ {_literal(behind)} -}}}}\n"
        )
    lines.append("  {%- endif -%}\n{%- endfor -%}\n")
    if formatter.INFERENCE_PREFIX:
        lines.append(
            f"{{%- if add_generation_prompt -%}}{{{{- {_literal(formatter.INFERENCE_PREFIX)} -}}}}{{%- endif -%}}"
        )
    return "".join(lines)


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
