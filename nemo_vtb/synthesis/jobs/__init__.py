"""The engine of every maker: shards that are whole or absent, many processes, any part resumable.

Begin with ``job``.
"""
