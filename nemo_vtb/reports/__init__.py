"""What is measured, as JSON: how it is written, where it was measured, how figures are spelt.

Begin with ``write``; ``score_table`` is the table that ``vtb eval`` prints and model cards show.

One unit for each kind of number, in every JSON file and in what a run logs (``report.json``, ``eval.json``,
``study.json``, ``judge.json``, ``card.json``, ``val_text_score``):

* shares, accuracies, error rates and what a text suite lost (``drop``): fractions, so that 1 is everything; an error
  rate may be above 1, a difference below 0;
* BLEU and chrF: sacrebleu's 0 to 100, as their signature says;
* losses, divergences and the ``drop`` of a perplexity: nats per supervised token;
* times: seconds, or what the key ends in (``minutes``, ``hours``);
* a key that ends in ``_points``: points of 100, as a config says them (``max_text_drop``).

Tables, pages and sentences multiply where they print; nothing else does.
"""
