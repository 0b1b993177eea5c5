"""What a step of training is made of beside the losses of the backbone.

``batch`` says what a batch holds, ``divergences`` keeps the LLM near the untouched one, ``accumulation`` weighs
micro-batches and ``guard`` passes over a step that is not finite.
"""
