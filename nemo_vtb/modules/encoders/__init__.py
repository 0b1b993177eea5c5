"""Speech encoders as NeMo's perception module wants them: features, true lengths, width and frame rate.

Begin with ``families``, what is known of each kind of Hugging Face model; Whisper is in ``nemo_vtb.modules.whisper``.
"""
