"""Imported before NeMo: what ``nemo_vtb.deferred`` lists is then imported at its use, as in our commands."""

from nemo_vtb.deferred import defer

defer()
