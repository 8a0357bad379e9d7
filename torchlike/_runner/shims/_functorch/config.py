"""torch._functorch.config: how PyTorch's compiler trades memory for time in the backward; XLA
decides that itself, and reads none of it."""

enable_autograd_cache = donated_buffer = ban_recompute_not_in_allowlist = True
functionalize_rng_ops = recompute_views = debug_assert = False
activation_memory_budget = 1.0
activation_memory_budget_runtime_estimator = "flops"
activation_memory_budget_solver = "dp"
