"""Using a trained model: chat, export, model cards, and LLMs that write.

Begin with ``chat``.
"""
