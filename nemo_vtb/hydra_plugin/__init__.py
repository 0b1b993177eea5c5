"""The one config line: ``+vtb@_global_=default`` in an unchanged NeMo launcher."""
