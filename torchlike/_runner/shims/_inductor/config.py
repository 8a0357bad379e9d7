"""torch._inductor.config: how PyTorch generates code. XLA reads none of it: results do not depend
on these settings, and what they tune is not there."""

from types import SimpleNamespace

fx_graph_cache = shape_padding = split_reductions = True
epilogue_fusion = pattern_matcher = allow_buffer_reuse = size_asserts = use_mixed_mm = True
max_autotune = max_autotune_gemm = max_autotune_pointwise = False
coordinate_descent_tuning = coordinate_descent_check_all_directions = False
conv_1x1_as_mm = force_fuse_int_mm_with_mul = permute_fusion = emulate_precision_casts = False
reorder_for_compute_comm_overlap = freezing = cpp_wrapper = debug = dce = benchmark_kernel = False
compile_threads = 1
triton = SimpleNamespace(
    unique_kernel_names=True, cudagraphs=False, cudagraph_trees=True, multi_kernel=0,
    cudagraph_skip_dynamic_graphs=False,
)  # fmt: skip
cpp = SimpleNamespace(threads=-1, simdlen=None)
trace = SimpleNamespace(enabled=False)
