"""Chat templates of the kinds that published LLMs carry, in words of our own, with the special tokens each needs."""

from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A template, its special tokens, and the names of bos and eos among them."""

    template: str
    special: tuple[str, ...]
    bos: str | None
    eos: str


# A date in the header, a system block in any case, texts trimmed (Llama 3).
LLAMA3 = """{{- bos_token }}
{%- set day = strftime_now("%d %b %Y") if strftime_now is defined else "1 Jan 2025" %}
{%- if messages[0]['role'] == 'system' %}{%- set brief = messages[0]['content'] | trim %}{%- set rest = messages[1:] %}
{%- else %}{%- set brief = "" %}{%- set rest = messages %}{%- endif %}
{{- "<|head|>system<|/head|>\n\nKnows until: 2023\nToday is " ~ day ~ "\n\n" ~ brief ~ "<|eot|>" }}
{%- for m in rest %}
{{- "<|head|>" ~ m['role'] ~ "<|/head|>\n\n" ~ (m['content'] | trim) ~ "<|eot|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|head|>assistant<|/head|>\n\n" }}{%- endif %}"""

# ChatML with a system prompt of its own where none is given (Qwen2.5, SmolLM2).
CHATML = """{% for m in messages %}
{% if loop.first and m.role != 'system' %}{{ '<|im_start|>system\nI was made to help.<|im_end|>\n' }}{% endif %}
{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

# No system role, answers by "model", strict order (Gemma).
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}
{%- for m in messages %}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns must alternate') }}{% endif %}
{{- '<turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim + '</turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"""

# Brackets, eos behind every answer, the system turn inside the first user turn (Mistral, Llama 2).
MISTRAL = """{%- if messages[0]['role'] == 'system' %}
{%- set brief = messages[0]['content'] %}{%- set rest = messages[1:] %}
{%- else %}{%- set rest = messages %}{%- endif %}
{{- bos_token }}
{%- for m in rest %}
{%- if m['role'] == 'user' %}
{{- '[ASK] ' + ((brief + '\n\n') if loop.first and brief is defined else '') + m['content'] + '[/ASK]' }}
{%- else %}{{- ' ' + m['content'] | trim + eos_token }}{%- endif %}
{%- endfor %}"""

# A separator token between role and text, eos at the end of what is not to be continued (Phi).
PHI = """{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"""

# Roles between tokens, end of text behind every turn, a long system prompt with a date (Granite).
GRANITE = """{%- if messages[0]['role'] == 'system' %}
{%- set brief = messages[0]['content'] %}{%- set rest = messages[1:] %}
{%- else %}{%- set brief = "Knows until: April 2024.\nToday: " + strftime_now('%B %d, %Y') + ".\nI am Stone." %}
{%- if thinking %}{%- set brief = brief + " I think first." %}{%- endif %}{%- set rest = messages %}{%- endif %}
{{- '<|role|>system<|/role|>' + brief + '<|eos|>\n' }}
{%- for m in rest %}{{- '<|role|>' + m['role'] + '<|/role|>' + m['content'] + '<|eos|>\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|role|>assistant<|/role|>' }}{%- endif %}"""

# Thoughts kept behind the last question only, an empty block where they are switched off (Qwen3).
QWEN3 = """{%- set ns = namespace(last=0) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for m in messages %}
{%- if m.role != 'assistant' %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- else %}
{%- set said = m.content %}{%- set thought = '' %}
{%- if '</think>' in said %}
{%- set thought = said.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
{%- set said = said.split('</think>')[-1].lstrip('\n') %}
{%- endif %}
{%- if loop.index0 > ns.last and (loop.last or thought) %}
{{- '<|im_start|>assistant\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + said.lstrip('\n') }}
{%- else %}{{- '<|im_start|>assistant\n' + said }}{%- endif %}
{{- '<|im_end|>\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}"""

# Texts against tokens without a line between, thoughts cut off, an opened block (DeepSeek).
DEEPSEEK = """{%- set ns = namespace(brief='') %}
{%- for m in messages %}{%- if m['role'] == 'system' %}{%- set ns.brief = m['content'] %}{%- endif %}{%- endfor %}
{{- bos_token + ns.brief }}
{%- for m in messages %}
{%- if m['role'] == 'user' %}{{- '<|User|>' + m['content'] }}{%- endif %}
{%- if m['role'] == 'assistant' %}
{%- set said = m['content'].split('</think>')[-1] if '</think>' in m['content'] else m['content'] %}
{{- '<|Assistant|>' + said + '<|eos|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|Assistant|><think>\n' }}{%- endif %}"""

# Two tokens end an answer, one begins it (Command R).
COMMAND_R = """{{ bos_token }}{% for m in messages %}
{%- set who = {'user': '<|USER|>', 'assistant': '<|BOT|>', 'system': '<|SYSTEM|>'}[m['role']] %}
{{- '<|TURN|>' + who }}
{%- if m['role'] == 'assistant' %}{{- '<|SAYS|>' + m['content'] + '<|SAID|>' }}
{%- else %}{{- m['content'] | trim }}{%- endif %}
{{- '<|/TURN|>' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|TURN|><|BOT|><|SAYS|>' }}{%- endif %}"""

# ChatML behind bos; messages may be lists of parts (LFM).
LFM = """{{- bos_token -}}
{%- for m in messages -%}
{{- '<|im_start|>' + m['role'] + '\n' -}}
{%- if m['content'] is string -%}{{- m['content'] -}}
{%- else -%}{%- for part in m['content'] -%}{{- part['text'] -}}{%- endfor -%}{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"""

# The last answer ends in another token than those before it (GPT-OSS).
HARMONY = """{%- for m in messages %}
{%- if m.role == 'assistant' %}{{- '<|start|>assistant<|channel|>final<|message|>' + m.content }}
{{- '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}
{%- else %}{{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}"""

# Only lists of parts are read.
PARTS = """{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' }}
{%- for part in m.content %}{%- if part.type == 'text' %}{{- part.text }}{%- endif %}{%- endfor %}
{{- '<|im_end|>\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
KINDS: dict[str, Kind] = {
    "llama3": Kind(LLAMA3, ("<|bot|>", "<|head|>", "<|/head|>", "<|eot|>"), "<|bot|>", "<|eot|>"),
    "chatml": Kind(CHATML, _IM, None, "<|im_end|>"),
    "gemma": Kind(GEMMA, ("<bos>", "<eos>", "<turn>", "</turn>"), "<bos>", "<eos>"),
    "mistral": Kind(MISTRAL, ("<s>", "</s>", "[ASK]", "[/ASK]"), "<s>", "</s>"),
    "phi": Kind(PHI, ("<|eos|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"), None, "<|eos|>"),
    "granite": Kind(GRANITE, ("<|role|>", "<|/role|>", "<|eos|>"), None, "<|eos|>"),
    "qwen3": Kind(QWEN3, (*_IM, "<think>", "</think>"), None, "<|im_end|>"),
    "deepseek": Kind(DEEPSEEK, ("<|bos|>", "<|User|>", "<|Assistant|>", "<|eos|>"), "<|bos|>", "<|eos|>"),
    "command_r": Kind(
        COMMAND_R,
        ("<|bos|>", "<|TURN|>", "<|/TURN|>", "<|USER|>", "<|BOT|>", "<|SYSTEM|>", "<|SAYS|>", "<|SAID|>"),
        "<|bos|>",
        "<|/TURN|>",
    ),
    "lfm": Kind(LFM, _IM, "<|endoftext|>", "<|im_end|>"),
    "harmony": Kind(HARMONY, ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"), None, "<|return|>"),
    "parts": Kind(PARTS, _IM, None, "<|im_end|>"),
}
# What ends an answer in each, and where that differs, what ends the last one.
ENDS = {
    "llama3": "<|eot|>",
    "gemma": "</turn>",
    "mistral": "</s>",
    "phi": "<|end|>",
    "granite": "<|eos|>",
    "deepseek": "<|eos|>",
    "command_r": "<|SAID|><|/TURN|>",
    "harmony": "<|end|>",
}


def byte_tokenizer(special: tuple[str, ...], template: str | None = None, **names: Any) -> Any:
    """A fast tokenizer of bytes with special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=letters, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **names)
    tokenizer.chat_template = template
    return tokenizer


def tokenizer_of_kind(name: str) -> Any:
    """A byte tokenizer with the template of that name."""
    kind = KINDS[name]
    return byte_tokenizer(kind.special, kind.template, bos_token=kind.bos, eos_token=kind.eos, pad_token=kind.eos)
