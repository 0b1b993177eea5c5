"""From a row to a conversation of a kind: chats, instructed utterances, spoken spans.

Begin with ``kinds`` and ``chat_rows``; ``instructed`` makes turns of a recording and its transcript, ``speak`` turns
written words into speech.
"""

from nemo_vtb.moved import names_of

__getattr__ = names_of("nemo_vtb.data.conversations", "nemo_vtb.data.conversations.chat_rows")
