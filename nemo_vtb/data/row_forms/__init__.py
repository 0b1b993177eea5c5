"""The forms in which people write rows: which fields mean what, how a clip is named, what a language tag says.

Begin with ``fields``: every field of a row is read, known to be harmless, refused by its name, or reported.
"""
