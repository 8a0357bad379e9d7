"""The op table and the pure functions on jax arrays behind it, by family."""
