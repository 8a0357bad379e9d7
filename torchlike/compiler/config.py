"""torch.compiler.config: switches of PyTorch's compiler that have a meaning here, or need none.

The limit on recordings of one function is read, and whether to raise there; the others ask for what
is always so: shapes are exact, numbers are guarded, nothing is printed but one report a function.
"""

job_id = None
recompile_limit = 8
accumulated_recompile_limit = 256
fail_on_recompile_limit_hit = False
verbose = False
force_disable_caches = False
automatic_dynamic_shapes = True
assume_static_by_default = True
dynamic_shapes = True
capture_scalar_outputs = False
capture_dynamic_output_shape_ops = False
allow_unspec_int_on_nn_module = False
enable_cpp_symbolic_shape_guards = True
log_file_name = None
reorderable_logging_functions: set = set()
skip_tensor_guards_with_matching_dict_tags = True
wrap_top_frame = False
