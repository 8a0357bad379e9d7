"""Copies of views, changes of size, segments, storages, attributes of Tensor, and switches."""

import pickle

import numpy as np
import pytest
import torch

import torchlike
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases, same

M, C, P = T((3, 4)), T((2, 3), "complex64"), T((3, 4), low=0.2)
I3 = T((3, 4), "int64", 0, 2)
LEN = np.array([1, 0, 2])

ROWS = [
    Row("alias_copy", [S(M)]),
    Row("detach_copy", [S(M)], grad=False),
    Row("as_strided_copy", [S(M, (2, 2), (1, 2), 1)]),
    Row("expand_copy", [S(M, (2, 3, 4))], forms=("out",)),
    Row("permute_copy", [S(M, (1, 0))]),
    Row("select_copy", [S(M, 0, 1)]),
    Row("slice_copy", [S(M, 1, 0, 3, 2), S(M)]),
    Row("split_copy", [S(M, 2), S(M, 3, 1)]),
    Row("split_with_sizes_copy", [S(M, [1, 2])]),
    Row("squeeze_copy", [S(T((1, 3, 1))), S(T((1, 3, 1)), 0), S(T((1, 3, 1)), (0, 2))]),
    Row("t_copy", [S(M)]),
    Row("transpose_copy", [S(M, 0, 1)]),
    Row("unbind_copy", [S(M), S(M, 1)]),
    Row("unfold_copy", [S(M, 0, 2, 1)]),
    Row("unsqueeze_copy", [S(M, 1)]),
    Row("view_copy", [S(M, (4, 3)), S(T((3, 4), grad=False), "torch.int32")], forms=("out",),
        errors=[S(M, (5, 3))]),
    Row("view_as_real_copy", [S(C)]),
    Row("view_as_complex_copy", [S(T((3, 2), grad=False))], errors=[S(M)]),
    Row("split_with_sizes", [S(M, [1, 2]), S(M, (1, 3), 1)], errors=[S(M, [1, 1])]),
    Row("unsafe_split_with_sizes", [S(M, [1, 2])], forms=("method",)),
    Row("segment_reduce",
        [S(M, "sum", lengths=LEN), S(M, "mean", lengths=LEN, initial=2), S(P, "prod", lengths=LEN),
         S(M, "max", lengths=LEN), S(M, "min", lengths=LEN, initial=0.5),
         S(M, "sum", offsets=np.array([0, 1, 3]), initial=5), S(M, "mean", lengths=LEN),
         S(M, "mean", lengths=np.array([[1, 0, 3]] * 3), axis=1),
         S(np.array([0.0, 2.0, 0.0, 0.0, 3.0], "float32"), "prod", lengths=np.array([2, 3])),
         S(M, "sum", lengths=np.array([1, 1]), unsafe=True)],
        second=False,
        errors=[S(M, "sum", lengths=np.array([1, 1])), S(M, "sum"), S(M, "foo", lengths=LEN),
                S(I3, "sum", lengths=LEN), S(M, "sum", lengths=np.array([4, -1])),
                S(M, "sum", lengths=LEN, axis=1), S(M, "sum", lengths=np.array([1.0, 2.0]))]),
    Row("nonzero_static", [S(I3, size=3), S(I3, size=9, fill_value=-7), S(T(), size=2),
                           S(np.array([True, False, True]), size=2)], forms=("method",),
        errors=[S(I3, size=-1)]),
    Row("hash_tensor", [S(M), S(I3, 1), S(M, (0, 1), keepdim=True), S(T((4,), "float16")),
                        S(T(), keepdim=True), S(T((3,), "bool"))],
        grad=False, forms=("method",), errors=[S(T((0,))), S(M, mode=1)]),
    Row("constant_pad_nd", [S(M, (1, 1))]),
    Row("sym_max", [S(1, 2.0), S(3, 2)]), Row("sym_min", [S(3, 2.0)]), Row("sym_not", [S(True)]),
    Row("sym_float", [S(2)]), Row("sym_int", [S(-2.7), S(2.7)]), Row("sym_sqrt", [S(4)]),
    Row("sym_sum", [S([1, 2, 3])]), Row("sym_ite", [S(False, 1, 2)]),
]  # fmt: skip


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_rows(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_bad_calls(row, sample):
    check_error(row, sample)


def test_a_copy_is_no_view():
    x = torchlike.zeros(3)
    y, parts = torchlike.alias_copy(x), torchlike.split_copy(x, 2)
    x.add_(1)
    assert y.tolist() == [0, 0, 0] and parts[0].tolist() == [0, 0]
    assert torchlike.split_with_sizes(x, [1, 2])[1]._base is x


def test_a_copy_goes_into_given_tensors():
    out = (torchlike.empty(2), torchlike.empty(1))
    assert torchlike.split_copy(torchlike.arange(3.0), 2, out=out) is None
    assert out[0].tolist() == [0, 1] and out[1].tolist() == [2]


def test_binomial_draws_pytorchs_numbers():
    found = []
    for lib in (torchlike, torch):
        lib.manual_seed(4)
        found.append(lib.binomial(lib.tensor([10.0, 200.0, 5.0]), lib.tensor([0.5, 0.1, 1.0])))
    same(*found, 0, "binomial")


# ---- changes of size ---------------------------------------------------------------------------


def test_resize():
    for lib in (torchlike, torch):
        x = lib.arange(6)
        assert x.resize_(2, 2) is x and x.tolist() == [[0, 1], [2, 3]]
        assert x.resize_((4,)).tolist() == [0, 1, 2, 3]
        y = lib.arange(3)
        assert y.resize_(2, 2).flatten().tolist()[:3] == [0, 1, 2]
        assert lib.resize_as_(lib.arange(4.0), lib.zeros(2, 2)).shape == (2, 2)
        assert lib.empty(0).resize_as_(lib.zeros(3, 2)).shape == (3, 2)
        with pytest.raises(RuntimeError, match="require grad"):
            lib.ones(2, requires_grad=True).resize_(1)


def test_memory_outlives_a_smaller_size():
    found = []
    for lib in (torchlike, torch):
        x = lib.arange(10)
        seen = []
        for n in (6, 8, 3, 10, 4):  # and what is written shows in all of it
            x.resize_(n).add_(n)
            seen.append((x.tolist(), (x * 2).sum().item(), x.stride(), x.is_contiguous()))
        for n in (14, 5, 20):
            seen.append(x.resize_(n).copy_(lib.arange(n)).tolist())
        found.append(seen)
    assert found[0] == found[1]


def test_growing_a_shared_storage_is_refused():
    x = torchlike.arange(3)
    view = x[1:]
    with pytest.raises(torchlike.NotSupported):
        x.resize_(5)
    assert view.tolist() == [1, 2]


def test_empty_permuted():
    for lib in (torchlike, torch):
        x = lib.empty_permuted((2, 3, 4), (0, 2, 1), dtype=lib.float64)
        assert x.stride() == (12, 1, 3) and x.dtype == lib.float64
        for bad in ((0, 2), (0, 1, 3), (0, 1, 1)):
            with pytest.raises(RuntimeError):
                lib.empty_permuted((2, 3, 4), bad)


# ---- attributes --------------------------------------------------------------------------------

QUESTIONS = (
    "itemsize", "nbytes", "is_cpu", "is_cuda", "is_meta", "is_sparse", "is_sparse_csr",
    "is_quantized", "is_nested", "is_mkldnn", "name",
)  # fmt: skip


def test_attributes():
    ours, theirs = torchlike.ones(3, 4, 1), torch.ones(3, 4, 1)
    for name in QUESTIONS:
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("is_signed", "is_inference", "is_distributed", "get_device"):
        assert getattr(torchlike, name)(ours) == getattr(torch, name)(theirs), name
    for shape, dims in (((3, 4), (1, 0)), ((1, 3, 1), (0, 1, 2)), ((2, 1, 3), (2, 0, 1))):
        orders = [lib.ones(shape).permute(dims).dim_order() for lib in (torchlike, torch)]
        assert orders[0] == orders[1], (shape, dims)


def test_python_for_each_element():
    for lib in (torchlike, torch):
        x, y = lib.tensor([[1.0, 2.0], [3.0, 4.0]]), lib.tensor([10.0, 20.0])
        assert x.apply_(lambda v: v + 1) is x and x.tolist() == [[2, 3], [4, 5]]
        assert x.map_(y.expand(2, 2), lambda a, b: a * b).tolist() == [[20, 60], [40, 100]]
        assert x.map2_(x.clone(), x.clone(), lambda a, b, c: a + b - c)[0].tolist() == [20, 60]
        with pytest.raises(RuntimeError, match="requires grad"):
            lib.ones(2, requires_grad=True).apply_(abs)


def test_protocols():
    class Mine(torchlike.Tensor):
        pass

    x = torchlike.ones(2, 3, requires_grad=True)
    y = x.as_subclass(Mine)
    assert type(y) is Mine and y.grad_fn is not None
    (y * 2).sum().backward()
    assert x.grad.tolist() == [[2, 2, 2]] * 2
    with pytest.raises(TypeError, match="deleting"):
        del x[0]
    z = torchlike.arange(3.0)
    assert torchlike.tensor(0).__array_wrap__(np.array([True])).dtype == torchlike.uint8
    assert z.module_load(torchlike.ones(3)).tolist() == z.tolist() == [1, 1, 1]
    assert z.record_stream(None) is None
    assert torchlike.detach(x).requires_grad is False
    assert torchlike.from_dlpack(torchlike.to_dlpack(z + 1)).tolist() == [2, 2, 2]
    assert torch.from_dlpack(torchlike.to_dlpack(z + 1)).tolist() == [2, 2, 2]
    assert torchlike.from_dlpack(torch.to_dlpack(torch.ones(2))).tolist() == [1, 1]
    assert torchlike.detach_(x * 2).grad_fn is None
    assert torchlike.addmv_(z, torchlike.eye(3), torchlike.ones(3)).tolist() == [2, 2, 2]
    assert torchlike.as_strided_(torchlike.arange(4), (2,), (2,)).tolist() == [0, 2]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_storages():
    for lib in (torchlike, torch):
        x = lib.arange(6.0).reshape(2, 3)
        part = x[1:]
        assert part.untyped_storage().nbytes() == 24 and part.untyped_storage().size() == 24
        assert part.storage().size() == len(part.storage()) == 6
        assert part.storage().tolist() == [0, 1, 2, 3, 4, 5] and part.storage()[4] == 4
        assert x.untyped_storage().data_ptr() == part.untyped_storage().data_ptr() == x.data_ptr()
        assert x.untyped_storage()[7] == 63 and x.storage().dtype == lib.float32
        assert repr(part.storage()).splitlines()[-1].startswith("[torch.storage.TypedStorage")
        assert isinstance(x.untyped_storage(), lib.UntypedStorage) and lib.is_storage(x.storage())
        assert x.is_set_to(x.view(2, 3)) and not x.is_set_to(x.clone()) and not x.is_set_to(part)


# ---- switches ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*set_default_tensor_type")
def test_switches():
    for lib in (torchlike, torch):
        try:
            lib.use_deterministic_algorithms(True, warn_only=True)
            assert lib.are_deterministic_algorithms_enabled()
            assert lib.get_deterministic_debug_mode() == 1
            lib.set_deterministic_debug_mode("error")
            assert not lib.is_deterministic_algorithms_warn_only_enabled()
            for bad in ("x", 3):
                with pytest.raises(RuntimeError):
                    lib.set_deterministic_debug_mode(bad)
            lib.set_float32_matmul_precision("high")
            assert lib.get_float32_matmul_precision() == "high"
            lib.set_default_tensor_type("torch.DoubleTensor")
            assert lib.ones(1).dtype == lib.float64
            lib.set_default_tensor_type(lib.FloatTensor)
            assert lib.ones(1).dtype == lib.float32
            with pytest.raises(TypeError):
                lib.set_default_tensor_type(lib.float32)
            with pytest.raises(RuntimeError):
                lib.set_num_interop_threads(0)
            assert not lib.is_warn_always_enabled() and lib.get_num_interop_threads() > 0
        finally:
            lib.use_deterministic_algorithms(False)
            lib.set_float32_matmul_precision("highest")
            lib.set_default_tensor_type("torch.FloatTensor")


def test_named_results_are_pickled():
    found = torchlike.max(torchlike.tensor([[1.0, 3.0]]), 1)
    assert isinstance(found, torchlike.return_types.max)
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is type(found) and again.indices.tolist() == [1]
    assert torchlike.version.cuda is None
