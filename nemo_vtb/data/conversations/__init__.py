"""From a row to a conversation of a kind: chats, instructed utterances, spoken spans.

Begin with ``kinds`` and ``chat_rows``; ``instructed`` makes turns of a recording and its transcript, ``speak`` turns
written words into speech.
"""
