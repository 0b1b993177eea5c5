"""The model card that an export carries.

Begin with ``write``; ``data`` says what it was trained on, ``text`` holds the sentences.
"""
