"""Names of PyTorch that are not asked for, and names that are missing: each with its reason."""

from __future__ import annotations

# Not asked for: listed in a namespace of PyTorch without being part of its public API, or only
# meaningful for its own C++ libraries. Every name here must exist there.
NOT_ASKED = {
    "torch": {
        "internals of TorchScript and the JIT (C++ classes that happen to be listed)": """
            AVG AggregationType AliasDb AnyType Argument ArgumentSpec AwaitType
            BenchmarkConfig BenchmarkExecutionStats Block BoolType BufferDict
            CallStack Capsule ClassType Code CompilationUnit CompleteArgumentSpec
            ComplexType ConcreteModuleType ConcreteModuleTypeBuilder
            DeepCopyMemoTable DeserializationStorageContext DeviceObjType DictType
            DisableTorchFunction DisableTorchFunctionSubclass DispatchKey
            DispatchKeySet EnumType ErrorReport ExcludeDispatchKeyGuard
            ExecutionPlan FatalError FileCheck FloatType FunctionSchema FutureType
            Gradient Graph GraphExecutorState IODescriptor InferredType IntType
            InterfaceType JITException ListType LiteScriptModule LockingLogger
            ModuleDict Node NoneType NoopLogger NumberType OperatorInfo OptionalType
            ParameterDict PyObjectType PyTorchFileReader PyTorchFileWriter RRefType
            SUM ScriptClass ScriptClassFunction ScriptDict ScriptDictIterator
            ScriptDictKeyIterator ScriptFunction ScriptList ScriptListIterator
            ScriptMethod ScriptModule ScriptModuleSerializer ScriptObject
            ScriptObjectProperty SerializationStorageContext StaticModule
            StreamObjType StringType SymBoolType SymIntType Tag TensorType
            ThroughputBenchmark TracingState TupleType Type UnionType Use Value fork
            wait import_ir_module import_ir_module_from_buffer
            merge_type_from_type_comment parse_ir parse_schema parse_type_comment
            unify_type_list
        """,
        "raw kernels of vendor libraries or of one module's C++ implementation": """
            cudnn_affine_grid_generator cudnn_batch_norm cudnn_convolution
            cudnn_convolution_add_relu cudnn_convolution_relu
            cudnn_convolution_transpose cudnn_grid_sampler cudnn_is_acceptable
            miopen_batch_norm miopen_convolution miopen_convolution_add_relu
            miopen_convolution_relu miopen_convolution_transpose miopen_ctc_loss
            miopen_depthwise_convolution miopen_rnn mkldnn_adaptive_avg_pool2d
            mkldnn_convolution mkldnn_linear_backward_weights mkldnn_max_pool2d
            mkldnn_max_pool3d mkldnn_rnn_layer fbgemm_linear_fp16_weight
            fbgemm_linear_fp16_weight_fp32_activation fbgemm_linear_int8_weight
            fbgemm_linear_int8_weight_fp32_activation fbgemm_linear_quantize_weight
            fbgemm_pack_gemm_matrix_fp16 fbgemm_pack_quantized_matrix
            batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt
            batch_norm_gather_stats batch_norm_gather_stats_with_counts
            batch_norm_stats batch_norm_update_stats quantized_batch_norm
            quantized_gru_cell quantized_lstm_cell quantized_max_pool1d
            quantized_max_pool2d quantized_max_pool3d quantized_rnn_relu_cell
            quantized_rnn_tanh_cell fused_moving_avg_obs_fake_quant
            choose_qparams_optimized empty_quantized is_vulkan_available native_norm
            norm_except_dim embedding_renorm_ affine_grid_generator
            sym_constrain_range sym_constrain_range_for_size
        """,
        "storage-only dtypes without operators": """
            bit bits16 bits1x8 bits2x4 bits4x2 bits8 int1 int2 int3 int4 int5 int6
            int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7 float4_e2m1fn_x2
        """,
        "plumbing behind torch.amp and anomaly mode": """
            autocast_decrement_nesting autocast_increment_nesting
            clear_autocast_cache get_autocast_ipu_dtype get_autocast_xla_dtype
            is_autocast_ipu_enabled is_autocast_xla_enabled set_autocast_ipu_dtype
            set_autocast_ipu_enabled set_autocast_xla_dtype set_autocast_xla_enabled
            is_autocast_cache_enabled set_autocast_cache_enabled
            set_anomaly_enabled
        """,
        "build flags": """
            has_lapack has_mkl has_openmp has_spectral init_num_threads
        """,
        "deprecated typed storages (UntypedStorage and TypedStorage are counted)": """
            BoolStorage ByteStorage CharStorage DoubleStorage FloatStorage
            IntStorage LongStorage ShortStorage
        """,
    },
    "torch.Tensor": {
        "other hardware back ends": """
            ipu mtia xpu is_ipu is_maia is_mtia is_vulkan is_xla is_xpu is_mps
            is_mkldnn to_mkldnn
        """,
        "removed functions that only raise, and leftovers of torch 0.x": """
            eig lstsq solve symeig volatile reinforce
        """,
        "raw memory": """
            const_data_ptr
        """,
    },
    "torch.nn": {
        "deprecated aliases": """
            Container NLLLoss2d
        """,
        "constructor helper": """
            factory_kwargs
        """,
    },
    "torch.nn.functional": {
        "type annotations, documentation strings and helpers imported there": """
            BroadcastingList1 BroadcastingList2 BroadcastingList3 DType Tensor
            assert_int_or_pair boolean_dispatch handle_torch_function
            has_torch_function has_torch_function_unary has_torch_function_variadic
            reproducibility_notes sparse_support_notes tf32_notes ScalingType
            SwizzleType
        """,
    },
    "torch.linalg": {
        "documentation strings": """
            common_notes
        """,
    },
    "torch.distributed": {
        "process-group implementation: options, stores and hooks of the C++ library": """
            AllToAllOptions AllreduceCoalescedOptions AllreduceOptions
            BarrierOptions BroadcastOptions BuiltinCommHookType DebugLevel
            GatherOptions GradBucket Logger ProcessGroupGloo ReduceOptions
            ReduceScatterOptions Reducer ScatterOptions QueueEmptyError GroupName
            supports_complex record_comm set_debug_level_from_env default_pg_timeout
            reduce_op BackendConfig get_backend_config get_pg_count
            all_gather_single all_to_all_single reduce_scatter_single
            get_default_backend_for_device register_rendezvous_handler rendezvous
            all_gather_coalesced all_reduce_coalesced
        """,
    },
    "torch.testing": {
        "test helper of the C++ compiler": """
            FileCheck
        """,
    },
}

# Missing, or there with parameters of other names: namespace -> {reason: names}. "*" stands for
# all names of the namespace that are missing.
MISSING = {
    "torch": {
        "not built": "distributed onnx",
    },
    "torch.Tensor operators": {"tensors hash by identity, as objects do": "__hash__"},
    "torch.onnx": {"export is not built": "*"},
    "torch.ao.quantization": {"quantization is not built": "*"},
    "torch.quantization": {"quantization is not built": "*"},
    "torch.distributed": {"distributed training is not built": "*"},
}

# The same for signatures that are not PyTorch's.
OTHER_SIGNATURE = {
    "torch.Tensor operators": {
        "NumPy passes more arguments today": "__array__ __array_wrap__",
    },
    "torch.ao.quantization": {
        "they only raise, and say that quantization is not built": """
            convert fuse_modules get_default_qat_qconfig get_default_qconfig prepare prepare_qat
            quantize quantize_dynamic quantize_qat
        """,
    },
    "torch.quantization": {
        "they only raise, and say that quantization is not built": """
            convert fuse_modules prepare prepare_qat quantize quantize_dynamic quantize_qat
        """,
    },
}
