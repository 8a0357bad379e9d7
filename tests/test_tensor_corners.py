"""Corners of tensors, each against PyTorch: the oldest calls, storages, views in other dtypes,
what creation refuses, the words of errors."""

import numpy as np
import pytest

import torchlike
from tests.ops.table import torch
from tests.test_idioms import outcome

PRELUDE = """
import copy, io, pickle
import numpy as N
one, two = L.ones(2), L.ones(2, 2)
i = lambda *n: L.tensor(n)
a = lambda n: L.arange(float(n))

D, F = N.int64(0), L.nn.functional

def after(x, *steps):
    return [step(x) for step in steps] and x

def kind_of(step):
    try:
        return step()
    except TypeError:
        return "TypeError"
    except (BufferError, IndexError, RuntimeError, ValueError) as error:
        return str(error)[:60]
    except AssertionError:
        return "AssertionError"
"""

CASES = [
    # Numbers before tensors, as programs of 2017 write it.
    "after(L.zeros(2), lambda x: x.add_(2, one))", "one.sub(2, one)", "one.addcmul_(3, one, one)",
    "one.addcdiv(-0.5, one, one * 2)", "two.addmm_(3, two + 0, two + 0)",
    "two.addmm_(3, 2, two + 0, two + 0)",
    "L.addmm(2, two, 3, two, two)", "L.addmm(2, two, two, two, out=L.empty(2, 2))",
    "one.addmv(2, 3, two, one)", "two.addr_(2, one, one)",
    "L.baddbmm(2, two[None], two[None], two[None])",
    "two.addbmm_(2, 3, two[None] + 0, two[None] + 0)",
    "one.add(1, 2)",
    "L.arange(4.0).resize(2, 2)",
    # Division of integers by zero.
    "i(3) // i(1)", "i(3) // 0", "5 % i(2, 3)", "i(7, -7) // i(2, 2)", "i(7).float() // i(0)",
    "L.div(i(-7), i(2), rounding_mode='trunc')", "L.fmod(i(-7), i(2))",
    *(f"L.{name}(one > 0, one > 0)" for name in ("remainder", "fmod", "floor_divide")),
    "L.histogram(one).hist.shape", "L.histogram(one, two)", "L.bincount(i().long(), weights=a(0))",
    # Storages are read, written, copied, and shown by tensors.
    "after(a(3), lambda x: x.untyped_storage().fill_(0))",
    "after(a(4), lambda x: x.untyped_storage().__setitem__(3, 64))",
    "after(a(4), lambda x: L.empty(0).set_(x.untyped_storage(), 1, (2,), (2,)).fill_(9))",
    "L.tensor([], dtype=L.int32).set_(one.untyped_storage())",
    "L.FloatStorage([1, 2]).tolist()", "L.LongStorage(2).fill_(3).double().tolist()",
    "L.UntypedStorage([1, 2]).clone().tolist()", "one.storage_type() is L.FloatStorage",
    "isinstance(L.IntStorage(1), L.FloatStorage)", "L.Tensor(L.FloatStorage([1, 2]))",
    "after(copy.deepcopy([two, two.untyped_storage(), two.view(4)]), lambda q: q[1].fill_(0))[2]",
    "one.set_(L.LongStorage([1]))", "one.set_(i(1))", "L.ShortStorage([1]).type()",
    "kind_of((L.ones(2, requires_grad=True) * 2).set_(one).sum().backward)",
    "kind_of((one + 0).set_(L.ones(3, requires_grad=True)).sum().backward)",
    "[x is one for x in L.broadcast_tensors(one, L.ones(1))]",
    # Views in another dtype lie in memory as their elements do.
    "L.ones(4, 4)[:, 1:3].view(L.float64)", "L.ones(4, 4).t().view(L.float64)",
    "L.ones(4, 4).t().view(L.int16)", "L.ones(4, 3).view(L.float64)",
    "L.ones(4, 4).as_strided((4, 4, 2), (2, 1, 1)).view(L.float64)",
    "L.ones(0, 4).t().view(L.int16)",
    "L.ones(4, 4)[::2].view(L.int16).shape",
    "after(L.tensor([1 + 2j]), lambda x: setattr(x, 'real', 5))",
    "after(L.tensor([1 + 2j]), lambda x: setattr(x, 'imag', i(7)))",
    "a(5).as_strided((2,), (-1,))", "a(5).as_strided((2,), (1,), -1)",
    "a(5).as_strided((-2,), (1,))",
    "L.ones(2, 3, 4).H", "one.H", "one.mH", "L.tensor(1.0).mT", "two.squeeze((0, 0))",
    "two.reshape()", "one.view(-2, 1)", "L.ones(2, 3).expand(3)", "L.broadcast_shapes((-1,), (2,))",
    # Named results are made from sequences.
    "tuple(L.return_types.max((one, 2)))", "L.return_types.sort([1])", "L.return_types.sort(5)",
    "tuple(type(two.max(0))(x + 1 for x in two.max(0)))", "L.return_types.mode.n_fields",
    "L.broadcast_shapes((2, 1), [3, 1], (4,))", "L.broadcast_tensors(two, L.ones(1, 7), one)",
    "L.broadcast_tensors(L.ones(3, 1), L.ones(2, 1, 1), L.ones(1, 0))[2].shape",
    # Assignment and copies.
    "L.zeros(2).copy_(3)", "one.copy_(L.ones(3))", "one.copy_(L.ones(2, 2))", "one.copy_([1])",
    "two.__setitem__(0, L.ones(3))", "two.__setitem__(0, L.ones(2, 2))",
    "L.ones(2, requires_grad=True).__setitem__(0, 1)", "L.tensor(5.0).__setitem__(0, 1)",
    "L.tensor(5.0)[:]", "two[[0, None]]", "two[[slice(1), 0]]",
    # What is written may be an input, not a part of one.
    *(f"after(a(6), lambda x: {call})" for call in (
        "x[1:].copy_(x[:-1])", "x.__setitem__(slice(1, 6), x[:5])", "x[1:].add_(x[:-1])",
        "x.view(2, 3).add_(x[:3])", "x.mul_(x[2])", "x[:4].view(2, 2).copy_(x[:4].view(2, 2).t())",
        "x[::2].copy_(x[1::2])", "x.div_(x)", "x[1:].div_(x[:-1])", "L.neg(x[1:], out=x[:-1])",
        "L.neg(x, out=x)", "L.div(x[1:], x[1:], out=x[:-1])", "L.where(x > 1, x, x, out=x)",
        "L.where(x[1:] > 1, x[1:], x[1:], out=x[:-1])", "L.pow(x[1:], 2, out=x[:-1])",
        "L.cumsum(x[1:], 0, out=x[:-1])", "L.nan_to_num(x[1:], out=x[:-1])",
        "L.index_select(x, 0, i(1, 2), out=x[:2])",
        "L.stack([x[:2], x[2:4]], out=x[1:5].view(2, 2))",
        "x.index_put_((i(0, 1),), x[3:5])", "x.__setitem__(i(0, 1), x[3:5])",
        "x.index_add_(0, i(0, 1), x[3:5])", "x.scatter_(0, L.arange(6), x)",
        "x.put_(i(0, 1), x[3:5])", "x.index_copy_(0, i(0, 1), x[3:5])",
        "x.masked_fill_(x > 2, x[0])",
        "x[1:].masked_scatter_(x[1:] > 2, x[:5])", "x.index_fill_(0, i(0), x[2])",
        "L.index_add(x, 0, i(0), x[:1].clone(), out=x)", "x.__setitem__(slice(None), x[3])",
    )),
    "after(i(2, 1, 0), lambda x: x.index_fill_(0, x, 0))",
    "after(a(4) > 1, lambda x: x[1:].masked_fill_(x[:-1], False))",
    "L.max(two, 0, out=(L.empty(2), L.empty(2).long())).values",
    "L.cummax(one, 0, out=(L.empty(2), L.empty(2).long())).indices",
    "[copy.deepcopy(x) is x and pickle.loads(pickle.dumps(x)) is x for x in "
    "(L.channels_last, L.strided)]",
    # Storages are not their elements cast; what else makes, reads and copies them.
    "L.tensor(one.untyped_storage(), dtype=L.int32)", "L.tensor(one.storage())",
    "L.tensor(i(1).storage(), dtype=L.int32)", "L.as_tensor(one.storage(), dtype=L.int64)",
    "L.IntStorage.from_buffer(bytearray(range(8)), 'big').tolist()",
    "L.FloatStorage.from_buffer(bytearray(3), 'little')",
    "L.BoolStorage.from_buffer(b'abc', 'big').tolist()",
    "L.TypedStorage(wrap_storage=one.untyped_storage(), dtype=L.int32).tolist()",
    "L.FloatStorage([1, 2]).copy_(L.IntStorage([1, 2])).tolist()", "L.FloatStorage([1, 2])[0:1]",
    "L.FloatStorage([1, 2])[2]", "L.FloatStorage([1, 2]).copy_(L.IntStorage(3))",
    "one.untyped_storage().float().tolist()",
    "after(one.untyped_storage(), lambda s: s.byteswap(L.float32)).tolist()",
    "pickle.loads(pickle.dumps(L.IntStorage([1, 2]))).tolist()",
    "one.untyped_storage().share_memory_().tolist()", "L.ones(2, device='meta').storage()[0]",
    # Views in other dtypes keep the order of their dimensions, and are counted in elements.
    *(f"(lambda x: [x.stride(), x.storage_offset(), x.shape])({call})" for call in (
        "L.ones(4, 4, 8).permute(1, 0, 2).view(L.int32)", "L.ones(4, 8)[1:, 2:].view(L.int16)",
        "L.ones(4, 8)[1:, 2:].view(L.float64)", "L.ones(0, 4, 8).view(L.int16)",
        "L.ones(0, 4).cfloat().view(L.float32)",
    )),
    "L.tensor([1 + 2j]).conj().view(L.float64)", "L.tensor([1 + 2j]).conj().imag.view(L.int32)",
    "one.broadcast_to(2, 2)", "L.broadcast_shapes(1.5)", "a(5).tensor_split(sections=2)",
    "a(5).tensor_split(indices=[1])", "L.unravel_index(i(1), i(2, 3))",
    "L.unravel_index(i(1), (2, 3.0))",
    # Only methods take sizes one by one, and at least one.
    *(f"kind_of(lambda: {call})" for call in (
        "L.flip(two, 0)", "two.flip()", "two.flip(dims=0)", "one.flip(True)", "two.permute()",
        "L.permute(two, 0, 1)", "L.reshape(two, 4)", "two.reshape(shape=4)",
        "L.reshape(two, (4,), shape=4)",
        "L.tile(two, 2)", "one.tile()", "one.repeat(repeats=2)", "L.broadcast_to(one, 2)",
        "one.expand()", "one.expand(size=2)", "one.view(size=2)", "two.unflatten(0, 2)",
        "two.unflatten(0, ())", "L.rot90(two, 1, 0)", "L.rot90(two, 1, (0, 2))",
        "one.sum_to_size(size=1)",
        "two.index_add(0, i(0, 1), one)", "L.tensor(1.0).index_add(0, i(0), L.ones(1))",
        "two.index_add(0, i(0), L.ones(1, 1))", "one[:1].expand(3).__setitem__(slice(None), 2)",
        "one[:1].expand(3)[1:2].__setitem__(0, 2)", "L.tensor(1.0).expand(2).__setitem__(0, 2)",
    )),
    "L.tile(L.tensor(1.0), ())", "L.reshape(input=one, shape=(2, 1))",
    "L.permute(two, dims=[1, 0])", "L.broadcast_to(size=(2, 2), input=one)",
    "L.broadcast_tensors(L.tensor(1.0), L.tensor(2))",
    # What cannot be, is said: only an int is an int.
    *(f"kind_of(lambda: {call})" for call in (
        *(f"two.{call}" for call in (
            "cumsum(i(0))", "softmax(i(0), 0)", "sort(i(1))", "select(True, 0)", "chunk(True)",
            "narrow(0, 0, 1.0)", "narrow(0, True, 1)", "diagonal(0.0)", "rot90(1.0)", "size(i(0))",
            "gather(i(0), i(0)[None])", "select(0, i(1))", "narrow(0, 0, i(1))", "sum(i(0))",
            "repeat_interleave(2.0)",
        )),
        "F.one_hot(i(0), 2.0)", "L.vander(one, 2.0)", "L.ones(size=3)",
        "one.apply_(lambda x: None)",
        "i(1).int().apply_(lambda x: 2**40)", "L.where(one > 0, 1)", "one.is_set_to(3)",
        "L.FloatStorage('a')", "L.TypedStorage(one)", "one.cfloat().random_()",
        "one.put(i(0), one[:1])", "F.max_unpool1d(one[None, None], i(0, 1)[None, None], 2)",
    )),
    "one.new(size=(2,)).shape", "two.repeat_interleave(i(1, 2), 0, output_size=4)",
    "two.repeat_interleave(2, output_size=9)", "L.repeat_interleave(i(2, 1).int())",
    "L.repeat_interleave(two.long())", "L.topk(L.tensor(3.0), 0)", "one.map_(two, lambda x, y: x)",
    "L.cov(two, fweights=i(0, 0))", "L.cov(two, correction=1.5)", "L.normal(one, -1.0)",
    "i(1).byte().apply_(lambda x: -1)", "i(1).apply_(lambda x: 2.7)", "L.normal(one, one.cfloat())",
    "one.cfloat().bernoulli_(one)", "(one > 0).masked_fill(one > 0, 1j)", "L._assert_async(i(0))",
    "L._assert_async(i(1))", "L.empty(0, 2).data_ptr()",
    "one._cdata == one._cdata, one._cdata == two._cdata, type(one._cdata)",
    "L.conv1d(L.ones(1, 2, 3), L.ones(1, 1, 1), groups=2)",
    "L.conv1d(L.ones(1, 2, 3), L.ones(3, 1, 1), groups=2)",
    "L.quasirandom.SobolEngine(2, True, 5).draw(2, dtype=L.float64).tolist()",
    "L.quasirandom.SobolEngine(2).draw(2, dtype=L.half)",
    "L.use_deterministic_algorithms(True, warn_only=1)",
    "[L.use_deterministic_algorithms(True), kind_of(lambda: one.put(i(0), one[:1])), "
    "kind_of(lambda: F.max_unpool1d(one[None, None], i(0, 1)[None, None], 2)), "
    "L.use_deterministic_algorithms(False)]",
    # Scatters: what they refuse, and how ties share a gradient.
    *(f"kind_of(lambda: {call})" for call in (
        "two.scatter(0, i(0, 1)[None], 1j)", "two.scatter(0, i(0, 1)[None], L.tensor(3.0))",
        "one.cfloat().scatter_reduce(0, i(0), one.cfloat(), 'amax')",
        "(one > 0).scatter_reduce(0, i(0), one > 0, 'mean')",
        "two.index_reduce(0, i(0)[None], two, 'prod')", "two.index_reduce(0, i(0), two, 'prod')",
        "two.index_reduce(0, i(0, 1), two.double(), 'prod')",
        "two.index_reduce(0, i(0, 1), L.ones(2, 3), 'prod')",
        "(one > 0).index_reduce(0, i(0, 1), one > 0, 'prod')",
        "L.segment_reduce(one, 'sum', lengths=[2])",
        "L.nonzero(one, out=one.long(), as_tuple=True)",
        "L.from_dlpack(one.cfloat().conj())", "L.from_dlpack(one.to_sparse())",
        "L.from_dlpack(L.ones(1, device='meta'))", "one.__dlpack__(stream=1)",
    )),
    *(f"(lambda x, y: L.autograd.grad(x.{call}.sum(), (x, y)))"
      "(L.ones(3, requires_grad=True), L.ones(2, requires_grad=True))" for call in (
        "scatter_reduce(0, i(1, 1), y, 'amax', include_self=False)",
        "scatter_reduce(0, i(1, 1), y, 'amin')",
        "index_reduce(0, i(1, 1), y, 'amax', include_self=False)",
    )),
    "L.segment_reduce(a(0), 'max', lengths=i(0, 0))",
    # What creation refuses.
    *(f"kind_of(lambda: {call})" for call in (
        "L.tensor(N.arange(3)[::-1])", "L.as_tensor(N.ones(2, '>f4'))", "L.range(3)",
        "L.tensor(N.float32(1.5), dtype=L.int64)", "L.tensor([N.float32(1.5)], dtype=L.uint8)",
        "L.tensor(N.complex64(1j), dtype=L.int32)",
        "L.tensor(N.datetime64('2020'), dtype=L.float32)",
        "L.tensor(None, dtype=L.float32)", "L.tensor([N.float64(1.5)], dtype=L.int64)",
        "L.tensor(type('I', (), {'__index__': lambda self: 3})(), dtype=L.float32)",
        "L.searchsorted(one, one, out=L.empty(0).int())",
    )),
    "L.zeros(2, dtype=L.int64, out=one)", "L.full((2,), 3, dtype=L.int64, out=one)",
    "L.LongTensor(2).new(one)", "L.Tensor(i(1, 2))", "L.Tensor('a')", "L.Tensor(None)",
    "L.FloatTensor(2, device='cuda')", "L.Tensor([1], device='cuda')", "one.new(2, device='cuda')",
    *(pytest.param(code, marks=pytest.mark.cpu_oracle) for code in (
        "L.cuda.FloatTensor(2)", "L.set_default_tensor_type(L.cuda.FloatTensor)",
    )),
    "type('T', (L.FloatTensor,), {})", "L.asarray([1], copy=False)",
    "L.asarray(N.ones(2), dtype=L.int32, copy=False)", "L.asarray(bytearray(4), dtype=L.float32)",
    "L.empty_strided((2, 3), (1,))", "L.scalar_tensor([1])", "L.tensor(N.array(['a']))",
    # What reductions refuse.
    "L.norm(two[None], 'nuc')", "L.norm(two[None], 'fro', (0, 1, 2))", "L.norm(two, 'nuc', 0)",
    *(f"L.linalg.vector_norm({x}, dtype=L.{kind})" for x, kind in (
        ("one", "complex64"), ("one.cfloat()", "float32"), ("one", "int32"), ("one", "half"),
    )),
    "L.nansum(one, dtype=L.complex64)", "L.signbit(one.cfloat())", "L.nanquantile(i(1, 2), 0.5)",
    "L.tensor([i(1, 2), i(3, 4)])", "L.tensor([one, i(3, 4)])", "L.set_num_threads('a')",
    "L.tensor(1e6, dtype=L.half)", "L.tensor(N.array([300.0, -1.0]), dtype=L.uint8)",
    "L.randint(2.5, (2,))", "L.randperm(2.5)", "L.normal(one, L.ones(3))",
    # Devices, dtypes, sizes.
    "L.device('cpu', -1)", "L.device(-1)", "L.device('cuda:01')", "L.device('')",
    "L.device('cpu', 'cpu')", "setattr(L.device('cpu'), 'type', 'x')", "L.Size([1.5])",
    "L.Size([i(2)[0], N.int64(3)])", "pickle.loads(pickle.dumps(L.Size([2])))",
    "L.int32.to_complex()", "L.finfo('float32')", "L.iinfo(L.bool)", "L.can_cast(L.float, 3)",
    "L.finfo(L.half) == L.finfo(L.half)", "L.result_type('a', 1)", "L.set_default_dtype('float')",
    "L.set_default_dtype(L.int8)", "L.ones(1, device='meta').type()", "L.is_floating_point(3)",
    "L.numel(3)", "L.promote_types(L.uint16, L.bool)", "L.promote_types(L.uint64, L.uint8)",
    # No rows, of numbers as wide as their places.
    "a(0).double().view(0, 4).argmax(1)", "i()[None].long().T.argmin(1, True)",
    "a(0).double().view(0, 2, 3).argmin(-1)", "a(0).double().view(0, 4).min(1)",
    "a(0).double().view(2, 0, 3).argmax(2)",
    # Powers of the base are no noise: who takes the floor of a logarithm counts on them.
    *(f"L.{call}, dtype=L.{kind})).tolist()" for kind in ("float32", "float64") for call in (
        "log2(L.tensor([2.0**k for k in range(-30, 31)]", "exp2(L.tensor([*range(-30, 31)]",
        "log10(L.tensor([10.0**k for k in range(-30, 31)]",
    )),
    # Complex numbers beside complex128 keep all their digits.
    "L.tensor([0.1 + 0.2j], dtype=L.complex128).tolist()",
    "L.tensor([0.1, 1j], dtype=L.complex128).tolist()",
    "(one.cdouble() * (0.1 + 0.2j)).tolist()", "(one.double() + 0.1j).tolist()",
    "(0.1j ** one.double()).tolist()", "one.cdouble().fill_(0.1j).tolist()",
    "L.full((1,), 0.1j, dtype=L.complex128).tolist()", "one.int().mul(0.1j).tolist()",
    "after(one.cdouble(), lambda x: x.__setitem__(0, 0.1j)).tolist()",
    "L.func.vmap(lambda x: x * 0.1j)(one.double()).tolist()",
    "L.where(one > 0, 0.1j, one.double()).tolist()", "L.where(one > 0, 0.1j, 0.2).tolist()",
    # The classes and words of other errors.
    "one.masked_fill(one, 2)", "one.masked_fill(one.byte(), 2)", "one.index_fill(0, one, 2)",
    "one.index_fill(0, i(0)[None], 2)", "two.index_copy(0, i(0)[None], two)",
    "two.index_copy(0, i(0, 1), two.double())", "two.index_add(0, i(0, 1), two.double())",
    "two.index_add(0, i(0, 1)[None], two)", "one.put(i(0), L.ones(1).double())",
    "one.cfloat().clamp(min=0)", "L.sign(one.cfloat())", "one.uniform_(2, 1)",
    # A 0-d tensor, or a number of NumPy's, in the place of one of Python's.
    "one.add(one, alpha=L.tensor(2.0))", "one.int().add(1, alpha=L.tensor(2.5))",
    "one.add(one, alpha=one)", "one.addcmul_(one, one, value=L.tensor(2))",
    "L.addmm(two, two, two, beta=L.tensor(0.5), alpha=L.tensor(3.0))",
    "a(4).chunk(L.tensor(2))", "a(4).split(L.tensor(3))", "a(3).roll(L.tensor(1))",
    *(f"a(6).view(2, 3).{call}" for call in (
        "sum(D)", "mean((D, 1))", "var(D)", "amax(D)", "norm(2, D)", "logsumexp(D)", "all(D)",
        "aminmax(dim=D)", "renorm(2, D, 1.0)", "movedim(D, 1)", "roll(1, D)",
        "tensor_split(D + 2)[1]", "hsplit(D + 3)[1]", "count_nonzero(D)", "squeeze(D)",
        "masked_fill(two[:, :1] > 0, N.float32(2))",
    )),
    *(f"L.{name}(a(6).view(2, 3), dim=L.tensor(1))" for name in ("max", "min", "median", "mode")),
    "L.max(a(2), L.tensor(1))", "kind_of(lambda: L.min(a(2), keepdim=True))",
    "L.median(a(2), keepdim=True)",
    "L.add(1, 1, alpha=2)", "L.add(1, 1, alpha=True)", "L.promote_types(1, L.int32)",
    *(f"L.abs(L.tensor([3 + 4j]), out=L.empty(0, dtype=L.{kind}))"
      for kind in ("float64", "float16", "complex64", "complex128", "int64")),
    "L.abs(one, out=L.empty(0).double())", "L.linalg.vecdot(L.tensor(2.0), i(1, 2).float())",
    "L.linalg.vecdot(a(1), a(3))", "L.cross(L.ones(3) > 0, L.ones(3) > 0)",
    "L.linalg.solve_triangular(two, two.double(), upper=True)",
    "L.geqrf(two.int())", "L.ormqr(two[None], two, two[None])",
    "L.ormqr(two[None], one[None], two.expand(2, 2, 2))",
    "L.linalg.tensorsolve(L.ones(2, 3, 6), L.ones(2, 3), dims=(0, 2))",
    "L.linalg.norm(two, dim=D)", "L.gradient(a(4), dim=D)[0]",
    "F.normalize(two, dim=D)", "F.unfold(two[None, None], D + 2)",
    "F.max_pool1d(two, D + 2, D + 1)", "a(5).tensor_split(one)", "a(5).tensor_split(i(1)[None])",
    # Python's numbers of complex tensors.
    "float(L.tensor(3 + 0j)), int(L.tensor(3 + 0j)), complex(L.tensor(3 + 2j))",
    "float(L.tensor(1j))", "int(L.tensor(1 + 1j))", "L.Generator('meta')",
]  # fmt: skip


@pytest.mark.parametrize("code", CASES)
def test_it_is_as_in_pytorch(code):
    ours, theirs = (outcome(lib, code, PRELUDE)[0].split(", but ")[0] for lib in (torchlike, torch))
    assert ours == theirs


ZERO = ["i(3) // i(0)", "i(3, 4) % i(2, 0)", "L.fmod(i(3), i(0).byte())", "5 // i(2, 0)",
        "L.div(i(3), i(0), rounding_mode='trunc')", "i(3).floor_divide_(i(0))"]  # fmt: skip


@pytest.mark.parametrize("code", ZERO)
def test_division_by_a_zero_in_a_tensor_raises_when_it_is_looked_at(code):
    ours, theirs = (outcome(lib, f"({code}).tolist()", PRELUDE)[0] for lib in (torchlike, torch))
    assert theirs == "RuntimeError: ZeroDivisionError"
    assert ours.startswith(theirs) and "program.py" in ours


NAN = "L.tensor([[float('nan'), 1], [1, 1]])"


@pytest.mark.parametrize("name", ["svd", "svdvals", "pinv", "matrix_rank", "eig"])
def test_factorizations_of_what_is_no_number_raise_when_they_are_looked_at(name):
    code = (
        f"(lambda r: r[0].tolist() if isinstance(r, tuple) else r.tolist())(L.linalg.{name}({NAN}))"
    )
    ours, theirs = (outcome(lib, code, PRELUDE)[0] for lib in (torchlike, torch))
    assert "Error" in theirs and ours.startswith(theirs) and "program.py" in ours


@pytest.mark.parametrize("code", [f"L.linalg.inv({NAN})[0]", f"L.linalg.solve({NAN}, L.ones(2))"])
def test_solutions_with_what_is_no_number_are_none_either(code):
    ours, theirs = (outcome(lib, code, PRELUDE)[0] for lib in (torchlike, torch))
    assert ours == theirs == "tensor([nan, nan])"


WARNED = [
    "one.add(2, one)",
    "one.resize(2, 1)",
    "two[[[0], [1]]]",
    "one.copy_(one * 1j)",
    "L.tensor(1.).H",
]


@pytest.mark.parametrize("code", WARNED)
def test_warnings(code):
    found = []
    for lib in (torchlike, torch):
        lib.set_warn_always(True)  # not only once in a process
        try:
            found.append(outcome(lib, code, PRELUDE)[1])
        finally:
            lib.set_warn_always(False)
    # PyTorch tells of an old overload twice.
    ours, theirs = (list(dict.fromkeys(each)) for each in found)
    assert [(kind, words[:24], here) for kind, words, here in ours] == [
        (kind, words[:24], True) for kind, words, _ in theirs
    ]


@pytest.mark.parametrize("source", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_floating_numbers_that_an_integer_cannot_hold(source, dtype):
    numbers = [
        -1.0, 255.0, 256.5, -300.7, 4e4, -4e4, 3e9, -3e9, 2.0**31, -(2.0**31), 1e12, 2.0**63, 1e30,
        float("inf"), -float("inf"), float("nan"), 2.7, -2.7, 0.0,
    ]  # fmt: skip
    found = []
    for lib in (torchlike, torch):
        x = lib.tensor(numbers, dtype=getattr(lib, source))
        d = getattr(lib, dtype)
        chosen = x[
            lib.arange(len(numbers))
        ]  # a program of XLA's, where the first is one of NumPy's
        found.append(
            (
                x.to(d).tolist(),
                (chosen * 1).to(d).tolist(),
                chosen.new_zeros(len(numbers), dtype=d).copy_(x).tolist(),
            )
        )
    assert found[0] == found[1]


def test_cholesky_says_of_almost_singular_matrices_which_failed():
    x = np.sort(np.random.default_rng(0).standard_normal((40, 30, 1)), 1)
    kernel = np.exp(-((x - x.swapaxes(1, 2)) ** 2)) + np.eye(30) * 2e-7
    factor, info = torchlike.linalg.cholesky_ex(torchlike.tensor(kernel.astype(np.float32)))
    failed = factor.isnan().flatten(1).any(1)
    assert 0 < failed.sum() < 40 and failed.tolist() == (info > 0).tolist()
