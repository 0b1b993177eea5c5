"""What is measured, as JSON: how it is written, where it was measured, how figures are spelt.

Begin with ``write``; ``score_table`` is the table that ``vtb eval`` prints and model cards show.
"""
