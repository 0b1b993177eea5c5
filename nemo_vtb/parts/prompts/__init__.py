"""From turns to token ids and what of them is learnt.

Begin with ``turn_mask``; ``chat_template`` takes a tokenizer's own template apart, ``control_tokens`` keeps what
people wrote from steering the LLM.
"""
