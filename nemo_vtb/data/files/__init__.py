"""Files of rows as they lie on disk: JSON, names and places, what can be wrong with a row.

Begin with ``rows``; ``locations`` finds files by the names a config has for them.
"""
