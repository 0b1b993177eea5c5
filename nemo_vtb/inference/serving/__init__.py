"""One model that answers many: a worker, the OpenAI-shaped server over it, and the page."""
