"""Views and in-place ops: the same small programs on both sides must leave the same state."""

import random

import numpy as np
import pytest

import torchlike
from tests.ops.table import to_numpy, torch

# ---- running a program on both sides -----------------------------------------------------------


def run(L, program):
    """Execute statements one by one: (what each did, the names they left)."""
    names = {"L": L, "h": []}
    trace = []
    for statement in program:
        try:
            exec(statement, names)
            trace.append("ok")
        except Exception as error:  # any type: it is what is compared
            trace.append(next(t.__name__ for t in (IndexError, TypeError, ValueError, RuntimeError, Exception) if isinstance(error, t)))  # fmt: skip
    return trace, names


def state(t, handles, label):
    """What a user can see of a tensor, but for its numbers; None where PyTorch refuses to tell."""
    try:
        base = t._base
        t.requires_grad  # noqa: B018  (raises for views made under no_grad and overwritten since)
    except RuntimeError:
        return None
    out = {
        "shape": tuple(t.shape),
        "dtype": str(t.dtype),
        "stride": tuple(s for n, s in zip(t.shape, t.stride(), strict=True) if n > 1) if t.numel() else (),
        "offset": t.storage_offset() if t.numel() else 0,
        "contiguous": t.is_contiguous(),
        "version": t._version,
        "requires_grad": t.requires_grad,
        "leaf": t.is_leaf,
        "base": next((i for i, b in enumerate(handles) if b is base), base is not None),
        "shares": [u.data_ptr() == t.data_ptr() for u in handles if u.numel()] if t.numel() else [],
    }
    if label:
        out["grad_fn"] = t.grad_fn.name().rsplit(":", 1)[-1] if t.grad_fn is not None else None
    return out


def same_end(program, label=False, strides=True):
    """Both sides: the same trace, the same states, the same numbers, the same gradients."""
    text = "\n".join(program)
    (ours, a), (theirs, b) = run(torchlike, program), run(torch, program)
    assert ours == theirs, f"{text}\n{[(p, x, y) for p, x, y in zip(program, ours, theirs, strict=True) if x != y]}"
    for i, (x, y) in enumerate(zip(a["h"], b["h"], strict=True)):
        np.testing.assert_allclose(
            to_numpy(x), to_numpy(y), rtol=1e-4, atol=1e-5, err_msg=f"{text}\nh[{i}]"
        )
    for i, (x, y) in enumerate(zip(a["h"], b["h"], strict=True)):
        mine, other = state(x, a["h"], label), state(y, b["h"], label)
        if other is None:
            continue
        assert mine == other, f"{text}\nh[{i}]: { {k: (mine[k], other[k]) for k in mine if mine[k] != other[k]} }"
    for i, (x, y) in enumerate(zip(a["h"], b["h"], strict=True)):
        if state(y, [], False) and y.is_leaf:
            assert (x.grad is None) == (y.grad is None), f"{text}\nh[{i}].grad: {x.grad} for {y.grad}"
            if y.grad is not None:
                np.testing.assert_allclose(
                    to_numpy(x.grad), to_numpy(y.grad), rtol=1e-4, atol=1e-4, err_msg=f"{text}\nh[{i}].grad"
                )


# ---- a table of programs -----------------------------------------------------------------------

LEAF = "h.append(L.arange(12.).reshape(3, 4).clone().requires_grad_())"
PLAIN = "h.append(L.arange(12.).reshape(3, 4).clone())"
ROOT = "h.append(h[0] * 2)"

PROGRAMS = {
    "view of a view": [PLAIN, "h.append(h[0].t())", "h.append(h[1][1])", "h[2].mul_(10)", "h[0].add_(1)"],
    "write to the base": [PLAIN, "h.append(h[0].view(4, 3))", "h[0].zero_()", "h[1][0, 0] = 5"],
    "chunks": [PLAIN, "h += list(h[0].chunk(2, 1))", "h[1].fill_(7)", "h[2].mul_(2)"],
    "unbind": [PLAIN, "h += list(h[0].unbind(0))", "h[0][0] += 1", "h[0].mul_(2)"],
    "unbind forbids in-place under grad": [LEAF, ROOT, "h += list(h[1].unbind(0))", "h[2].add_(1)"],
    "split forbids in-place under grad": [LEAF, ROOT, "h += list(h[1].split(1))", "h[2].add_(1)"],
    "expand overlaps": ["h.append(L.ones(3, 1))", "h.append(h[0].expand(3, 4))", "h[1].add_(1)", "h[1][0, 0] = 2", "h[0].add_(1)"],
    "unfold does not overlap": ["h.append(L.arange(6.))", "h.append(h[0].unfold(0, 2, 2))", "h[1].add_(1)", "h[1][0] = 9.0"],
    "view of transposed": [PLAIN, "h.append(h[0].t())", "h.append(h[1].view(12))", "h.append(h[1].reshape(12))", "h[0].zero_()"],
    "contiguous": [PLAIN, "h.append(h[0].contiguous())", "h.append(h[0].t().contiguous())", "h[0].zero_()"],
    "flatten": [PLAIN, "h.append(h[0].flatten())", "h.append(h[0].t().flatten())", "h[0].add_(1)"],
    "complex": ["h.append(L.ones(3, dtype=L.complex64))", "h.append(h[0].real)", "h.append(h[0].imag)", "h.append(L.view_as_real(h[0]))",
                "h[1].mul_(3)", "h[2].add_(2)", "h[3][0] = 9.0", "h[0].mul_(2)"],
    "as_strided": [PLAIN, "h.append(h[0].as_strided((2, 2), (4, 1), 1))", "h[1].fill_(-1)", "h[0].add_(1)",
                   "h.append(h[0][1:].as_strided((2,), (1,)))", "h.append(h[0].t().as_strided((2,), (5,), 0))"],
    "squeeze": ["h.append(L.ones(1, 3, 1))", "h.append(h[0].squeeze())", "h.append(h[0].squeeze(0))", "h.append(h[1].unsqueeze(1))", "h[3].add_(1)"],
    "diagonal": [PLAIN, "h.append(h[0].diagonal())", "h.append(h[0].diagonal(1))", "h[1].fill_(0)", "h[2].add_(1)"],
    "movedim": ["h.append(L.arange(24.).reshape(2, 3, 4))", "h.append(h[0].movedim(0, -1))", "h.append(h[1].permute(1, 2, 0))", "h[2][0, 0, 0] = 1e3"],
    "mT and T": [PLAIN, "h.append(h[0].T)", "h.append(h[0].mT)", "h[1][0] = 5.0", "h[2].mul_(2)"],
    "detach shares": [LEAF, "h.append(h[0].detach())", "h[1].add_(1)", "h.append(h[0] * 1)", "h[2].sum().backward()"],
    "detach of a view": [LEAF, ROOT, "h.append(h[1][0].detach())", "h[2].zero_()", "(h[1] * h[1]).sum().backward()"],
    "in-place on a leaf": [LEAF, "h[0].add_(1)", "h[0][0] = 1.0", "h[0].t().mul_(2)", "h.append(h[0].t())", "h[1].add_(1)"],
    "in-place on a leaf without grad": [LEAF, "with L.no_grad(): h[0].add_(1)", "with L.no_grad(): h[0][0] = 5.0", "(h[0] * h[0]).sum().backward()"],
    "view of a leaf without grad": [LEAF, "with L.no_grad(): h.append(h[0][0])", "with L.no_grad(): h[1].mul_(2)", "h.pop()", "(h[0] * h[0]).sum().backward()"],
    "mul then view then mul_": [LEAF, ROOT, "h.append(h[1].view(12))", "h[2].mul_(3)", "(h[1] * h[1]).sum().backward()"],
    "mul_ on the base of a view": [LEAF, ROOT, "h.append(h[1][1])", "h[1].mul_(3)", "(h[2] * h[2]).sum().backward()"],
    "two views": [LEAF, ROOT, "h.append(h[1][0])", "h.append(h[1][:, 0])", "h[2].mul_(3)", "h[3].exp_()", "(h[1] * h[1]).sum().backward()"],
    "a view of no history gets one": [LEAF, "h.append(L.zeros(3, 4))", "h.append(h[1][1])", "h[2].copy_(h[0][0])", "(h[1] * 2).sum().backward()"],
    "base of no history gets one": [LEAF, "h.append(L.zeros(3, 4))", "h.append(h[1][1])", "h[1].add_(h[0])", "(h[2] * 2).sum().backward()"],
    "setitem into zeros": [LEAF, "h.append(L.zeros(3, 4))", "h[1][0] = h[0][1] * 2", "h[1][:, 1] = h[0][:, 0]", "(h[1] * h[1]).sum().backward()"],
    "setitem in a loop": [LEAF, "h.append(L.zeros(3, 4))", "for i in range(3): h[1][i] = h[0][i] * i", "h[1].sum().backward()"],
    "x + 1 then x.add_": [LEAF, ROOT, "h.append(h[1] + 1)", "h[1].add_(1)", "h[2].sum().backward()"],
    "x * x then x.add_": [LEAF, ROOT, "h.append(h[1] * h[1])", "h[1].add_(1)", "h[2].sum().backward()"],
    "x * 3 then x.add_": [LEAF, ROOT, "h.append(h[1] * 3)", "h[1].add_(1)", "h[2].sum().backward()"],
    "exp overwritten": [LEAF, "h.append(h[0].exp())", "h[1].add_(1)", "h[1].sum().backward()"],
    "exp input overwritten": [LEAF, ROOT, "h.append(h[1].exp())", "h[1].add_(1)", "h[2].sum().backward()"],
    "relu input overwritten": [LEAF, ROOT, "h.append(h[1].relu())", "h[1].add_(1)", "h[2].sum().backward()"],
    "relu result overwritten": [LEAF, ROOT, "h.append(h[1].relu())", "h[2].add_(1)", "h[2].sum().backward()"],
    "relu_ after mul": [LEAF, ROOT, "h[1].relu_()", "h[1].sum().backward()"],
    "sigmoid_ after mul": [LEAF, ROOT, "h[1].sigmoid_()", "h[1].sum().backward()"],
    "pow overwritten": [LEAF, ROOT, "h.append(h[1] ** 2)", "h[1].zero_()", "h[2].sum().backward()"],
    "saved view overwritten by the base": [LEAF, ROOT, "h.append(h[1][0])", "h.append(h[2] * h[2])", "h[1].add_(1)", "h[3].sum().backward()"],
    "saved base overwritten by a view": [LEAF, ROOT, "h.append(h[1] * h[1])", "h[1][0].add_(1)", "h[2].sum().backward()"],
    "saved and overwritten through detach": [LEAF, ROOT, "h.append(h[1] * h[1])", "h[1].detach().add_(1)", "h[2].sum().backward()"],
    "overwritten through data": [LEAF, ROOT, "h.append(h[1] + 1)", "h[1].data.add_(1)", "h[2].sum().backward()"],
    "weights overwritten": [LEAF, "h.append(L.ones(4, 2, requires_grad=True))", "h.append(h[0] @ h[1])", "with L.no_grad(): h[1].add_(1)", "h[2].sum().backward()"],
    "weights overwritten but not needed": ["h.append(L.ones(3, 4))", "h.append(L.ones(4, 2, requires_grad=True))", "h.append(h[0] @ h[1])",
                                           "with L.no_grad(): h[1].add_(1)", "h[2].sum().backward()"],
    "sum after overwrite": [LEAF, ROOT, "h.append(h[1].sum())", "h[1].zero_()", "h[2].backward()"],
    "index then overwrite": [LEAF, ROOT, "h.append(h[1][[0, 1]])", "h[1].zero_()", "h[2].sum().backward()"],
    "cat then overwrite": [LEAF, ROOT, "h.append(L.cat([h[1], h[1]]))", "h[1].zero_()", "h[2].sum().backward()"],
    "addmm bias overwritten": ["h.append(L.ones(2, requires_grad=True))", LEAF, "h.append(L.ones(4, 2, requires_grad=True))",
                               "h.append(L.addmm(h[0], h[1], h[2]))", "with L.no_grad(): h[0].add_(1)", "h[3].sum().backward()"],
    "masked_fill then overwrite": [LEAF, ROOT, "h.append(h[1].masked_fill(h[1] > 3, 0.0))", "h[1].zero_()", "h[2].sum().backward()"],
    "mask overwritten": [LEAF, ROOT, "m = h[1].detach() > 3", "h.append(h[1].masked_fill(m, 0.0))", "m.fill_(False)", "h[2].sum().backward()"],
    "grad accumulates in place": [LEAF, "(h[0] * 2).sum().backward()", "g = h[0].grad", "(h[0] * 2).sum().backward()", "h.append(g)"],
    "grad zeroed in place": [LEAF, "(h[0] * 2).sum().backward()", "h[0].grad.zero_()", "(h[0] * 3).sum().backward()"],
    "copy_ broadcasts": [LEAF, "h.append(L.zeros(3, 4))", "h[1].copy_(h[0][0])", "(h[1] * h[1]).sum().backward()"],
    "copy_ from itself": [PLAIN, "h[0][1:].copy_(h[0][:-1].clone())", "h[0].t().copy_(h[0].t())"],
    "swap rows": [PLAIN, "h[0][[0, 1]] = h[0][[1, 0]]", "h[0][0], h[0][1] = h[0][1].clone(), h[0][0].clone()"],
    "transpose_": [PLAIN, "h[0].transpose_(0, 1)", "h[0].unsqueeze_(0)", "h[0].squeeze_(0)", "h[0].t_()", "h[0].add_(1)"],
    "transpose_ and views": [PLAIN, "h[0].t_()", "h.append(h[0][1])", "h[1].add_(1)", "h.append(h[0].view(12))", "h.append(h[0].reshape(12))", "h.append(h[0].t())"],
    "transpose_ of a view": [PLAIN, "h.append(h[0][:2])", "h[1].t_()", "h[1].add_(1)", "h[0].mul_(2)"],
    "transpose_ under grad": [LEAF, ROOT, "h[1].t_()", "(h[1] * h[1]).sum().backward()"],
    "set data": [LEAF, "h[0].data = L.ones(2, 2)", "(h[0] * h[0]).sum().backward()"],
    "data fill": [LEAF, "h[0].data.fill_(2.0)", "(h[0] * h[0]).sum().backward()"],
    "requires_grad_ on a view of nothing": [PLAIN, "h.append(h[0][0])", "h[1].requires_grad_()", "(h[1] * 2).sum().backward()", "h[0].add_(1)"],
    "requires_grad_ on a base with a view": [PLAIN, "h.append(h[0][0])", "h[0].requires_grad_()", "(h[0] * 2).sum().backward()"],
    "detach_": [LEAF, ROOT, "h[1].detach_()", "h[1].add_(1)", "h.append(h[1][0])", "h[2].detach_()"],
    "a view after an in-place op": [LEAF, ROOT, "h[1].mul_(2)", "h.append(h[1].t())", "h[2].exp_()", "h[1].sum().backward()"],
    "three generations": [LEAF, ROOT, "h.append(h[1].t())", "h.append(h[2][1:])", "h.append(h[3].reshape(-1))", "h[3].mul_(2)", "h[4].sum().backward()"],
    "in-place with itself": [LEAF, ROOT, "h[1].mul_(h[1])", "h[1].add_(h[1])", "h[1].sum().backward()"],
    "iadd on a slice": [LEAF, ROOT, "h[1][0] += 1", "h[1][:, 1:] *= 2", "(h[1] * h[1]).sum().backward()"],
    "iadd by an index tensor": [LEAF, ROOT, "h[1][L.tensor([0, 2])] += 1", "h[1][h[1] > 5] *= 2", "(h[1] * h[1]).sum().backward()"],
    "retain_grad": [LEAF, ROOT, "h[1].retain_grad()", "(h[1] * h[1]).sum().backward()", "h.append(h[1].grad)"],
    "real of a complex under grad": ["h.append(L.ones(3, dtype=L.complex64, requires_grad=True))", "h.append(h[0] * 2)", "h[1].real.mul_(3)", "(h[1].abs() ** 2).sum().backward()"],
    "bool and int views": ["h.append(L.arange(6).reshape(2, 3).clone())", "h.append(h[0][:, 1])", "h[1] += 5", "h.append(h[0] > 3)", "h[2][0] = True"],
    "view dtype": ["h.append(L.arange(4, dtype=L.int32))", "h.append(h[0].view(L.float32))", "h[1].zero_()", "h.append(h[0].view(L.int64))", "h[2].fill_(1)"],
    "dtype cannot be cast": ["h.append(L.ones(3, dtype=L.int64))", "h[0].add_(0.5)", "h[0].mul_(2)", "h[0].div_(2)", "h[0][0] = 2.5"],
    "shape cannot be broadcast": ["h.append(L.ones(3))", "h[0].add_(L.ones(2, 3))", "h[0].add_(L.ones(2))", "h[0].copy_(L.ones(2, 3))"],
    "backward twice": [LEAF, ROOT, "h.append((h[1] * h[1]).sum())", "h[2].backward()", "h[2].backward()"],
    "zero elements": ["h.append(L.zeros(0, 3))", "h.append(h[0].t())", "h[1].add_(1)", "h.append(h[0].view(3, 0))", "h.append(h[0][:, 0])"],
    "0-d": ["h.append(L.tensor(2.0))", "h.append(h[0].view(1))", "h[1].add_(1)", "h.append(h[0].expand(3))", "h[0].mul_(2)", "h.append(h[0][None])"],
    "select by a tensor": [PLAIN, "i = L.tensor(1) + 0", "h.append(h[0][i])", "h[1].zero_()", "i.add_(1)", "h[0].add_(1)"],
    "inference of a view": [PLAIN, "with L.no_grad(): h.append(h[0].t())", "h[0].requires_grad_()"],
    "swap parts": ["h.append(L.arange(4.))", "a = h[0][:2]", "b = h[0][2:]", "t = a.clone()", "a.copy_(b)", "b.copy_(t)"],
    "narrow and select": [PLAIN, "h.append(h[0].narrow(1, 1, 2))", "h.append(h[1].select(0, 2))", "h[2].fill_(9)", "h.append(h[0].narrow(0, 2, 2))"],
    "accumulate": [LEAF, ROOT, "h[1].index_put_((L.tensor([0, 0]),), L.ones(2, 4), accumulate=True)", "h[1].index_add_(0, L.tensor([1, 1]), L.ones(2, 4))",
                   "h[1].scatter_add_(1, L.tensor([[0, 0]]), L.ones(1, 2))", "(h[1] * h[1]).sum().backward()"],
    "write while backward waits": [LEAF, "h.append(L.zeros(4, requires_grad=True))", "h.append(h[0] @ h[1])", "h[2].sum().backward()",
                                   "with L.no_grad(): h[1] -= h[1].grad", "h[1].grad = None", "(h[0] @ h[1]).sum().backward()"],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    same_end(PROGRAMS[name])


LABELS = {
    "h[0][0]": None, "h[0][1:]": None, "h[0][:, 1]": None, "h[0][0, 1:]": None, "h[0][None]": None, "h[0][...]": None,
    "h[0][[0, 1]]": None, "h[0].t()": None, "h[0].T": None, "h[0].mT": None, "h[0].transpose(0, 1)": None,
    "h[0].permute(1, 0)": None, "h[0].view(12)": None, "h[0].reshape(12)": None, "h[0].flatten()": None,
    "h[0].unsqueeze(0)": None, "h[0].unsqueeze(0).squeeze(0)": None, "h[0].unsqueeze(0).squeeze()": None, "h[0].expand(2, 3, 4)": None,
    "h[0].narrow(0, 0, 1)": None, "h[0].select(0, 1)": None, "h[0].diagonal()": None, "h[0].unfold(0, 2, 1)": None,
    "h[0].chunk(2)[0]": None, "h[0].split(2)[0]": None, "h[0].split([1, 2])[0]": None, "h[0].unbind()[0]": None,
    "h[0].clone()": None, "h[0] @ h[0].t()": None, "h[0] @ h[0][0]": None, "h[0][0] @ h[0][0]": None, "L.cat([h[0], h[0]])": None,
    "L.stack([h[0], h[0]])": None, "h[0].gather(1, L.tensor([[0]]))": None, "h[0].masked_fill(h[0] > 1, 0.0)": None,
    "h[0].index_select(0, L.tensor([0]))": None, "h[0].as_strided((2,), (1,))": None, "h[0].movedim(0, 1)": None,
    "h[0].tril()": None, "h[0].flip(0)": None, "h[0].repeat(2, 1)": None, "h[0].roll(1, 0)": None, "h[0].double()": None,
}  # fmt: skip


@pytest.mark.parametrize("expression", LABELS)
def test_grad_fn_name(expression):
    same_end([LEAF, f"h.append({expression})"], label=True)


IN_PLACE_LABELS = {
    "mul_": ["h[1].mul_(2)"],
    "setitem": ["h[1][0] = 1.0"],
    "copy_": ["h[1].copy_(h[0])"],
    "index_put_": ["h[1][[0]] = 1.0"],
}


@pytest.mark.parametrize("name", IN_PLACE_LABELS)
def test_grad_fn_name_after_in_place(name):
    same_end([LEAF, ROOT, *IN_PLACE_LABELS[name]], label=True)


# ---- fuzz --------------------------------------------------------------------------------------


def some_view(rng, t, grad):
    """Source of a view of ``t``, most often a valid one."""
    n, shape = t.ndim, tuple(t.shape)
    dim = rng.randint(-n, n - 1) if n else 0
    size = shape[dim] if n else 1
    other = rng.randint(-n, n - 1) if n else 0
    kinds = ["view", "view", "t", "transpose", "permute", "narrow", "select", "split", "chunk", "unbind", "diagonal",
             "expand", "squeeze", "unsqueeze", "unfold", "as_strided", "flatten", "reshape", "movedim", "index", "index",
             "T", "mT", "detach", "alias", "tensor_split", "view_as_complex", "unflatten"]  # fmt: skip
    if t.is_complex():
        kinds += ["real", "imag", "view_as_real"] * 4
    if grad:
        # PyTorch refuses to look at pieces of a split again once their base has been written to,
        # and as_strided of a view loses the gradient outside of it: here both work.
        kinds = [k for k in kinds if k not in ("split", "chunk", "unbind", "as_strided")]
    kind = rng.choice(kinds)
    numel = t.numel()
    factors = [f for f in (1, 2, 3, 4, 6, 12) if numel % f == 0] if numel else [1]
    f = rng.choice(factors)
    if kind in ("view", "reshape"):
        target = rng.choice([(-1,), (f, -1), (-1, f), (f, numel // f if f else 0)]) if numel else shape
        return f".{kind}({', '.join(map(str, target))})"
    if kind == "permute":
        return f".permute({rng.sample(range(n), n)})"
    if kind == "narrow":
        start = rng.randint(0, max(size - 1, 0))
        return f".narrow({dim}, {start}, {rng.randint(0, size - start)})"
    if kind == "select":
        return f".select({dim}, {rng.randint(-size, size - 1) if size else 0})"
    if kind == "split":
        return f".split({rng.randint(1, max(size, 1))}, {dim})[0]"
    if kind == "chunk":
        return f".chunk({rng.randint(1, 3)}, {dim})[-1]"
    if kind == "tensor_split":
        return f".tensor_split({rng.randint(1, 3)}, {dim})[0]"
    if kind == "unbind":
        return f".unbind({dim})[0]"
    if kind == "diagonal":
        return f".diagonal({rng.randint(-1, 1)}, {dim}, {other})"
    if kind == "expand":
        target = [rng.choice([-1, s if s != 1 else 3]) for s in shape]
        return f".expand({[2, *target] if rng.random() < 0.3 else target})"
    if kind == "squeeze":
        return rng.choice([".squeeze()", f".squeeze({dim})"])
    if kind == "unsqueeze":
        return f".unsqueeze({rng.randint(-n - 1, n)})"
    if kind == "unfold":
        return f".unfold({dim}, {rng.randint(1, max(size, 1))}, {rng.randint(1, 2)})"
    if kind == "as_strided":
        return f".as_strided((2, 2), ({rng.randint(0, 3)}, {rng.randint(1, 2)}), {rng.choice([0, 1, 'None'])})"
    if kind == "flatten":
        return f".flatten({rng.randint(0, max(n - 1, 0))})"
    if kind in ("transpose", "movedim"):
        return f".{kind}({dim}, {other})"
    if kind == "index":
        items = [rng.choice([":", "0", "-1", "1:", "::2", ":2", "None", "..."]) for _ in range(rng.randint(1, n + 1))]
        if items.count("...") > 1:
            items = ["..."]
        return f"[{', '.join(items)}]"
    if kind == "alias":
        return "[...]"
    if kind == "unflatten":
        return f".unflatten({dim}, ({f}, -1))"
    if kind in ("T", "mT", "real", "imag"):
        return f".{kind}"
    return {"t": ".t()", "detach": ".detach()", "view_as_real": "", "view_as_complex": ""}[kind]


def repeats(t) -> bool:
    """Whether elements share memory in a way that PyTorch does not notice (stride 0 it does)."""
    at = np.zeros((), np.int64)
    for n, s in zip(t.shape, t.stride(), strict=True):
        if n > 1 and s == 0:
            return False
        at = at[..., None] + np.arange(n) * s
    return np.unique(at).size < at.size


def some_write(rng, i, t):
    """A statement that writes in place to handle ``i``."""
    n = t.ndim
    j = rng.randint(0, i)
    return rng.choice([
        f"h[{i}].mul_(2)", f"h[{i}].add_(1)", f"h[{i}].add_(h[{i}])", f"h[{i}].zero_()", f"h[{i}].fill_(3)",
        f"h[{i}].sub_(h[{j}].clone())", f"h[{i}].copy_(h[{j}].clone())", f"h[{i}] += 0.5", f"h[{i}].mul_(h[{j}].detach().clone())",
        f"h[{i}][{'0' if n else '...'}] = 7.0", f"h[{i}][..., -1:] = 2.0", f"h[{i}][{'1:' if n else '...'}].mul_(3)",
        f"h[{i}].neg_()", f"h[{i}].sigmoid_()", f"h[{i}].copy_(L.arange(float(h[{i}].numel())).reshape(h[{i}].shape))",
        f"h[{i}][h[{i}] > 1] = 0.0",
    ])  # fmt: skip


def fuzz_program(rng, grad):
    """A random program, made while running it on PyTorch so that most calls are valid."""
    shape = rng.choice([(3, 4), (2, 3, 2), (12,), (4, 3), (1, 3, 4), (2, 2, 3)])
    kind = "L.float32" if rng.random() < 0.85 else "L.complex64"
    size = int(np.prod(shape))
    first = f"h.append(L.arange({size}.0).to({kind}).reshape({shape}).mul(0.1).clone())"
    program = [first]
    if grad:
        program += ["h[0].requires_grad_()", "h.append(h[0] * 2)"]
    names = {"L": torch, "h": []}
    for statement in program:
        exec(statement, names)
    h = names["h"]
    for _ in range(rng.randint(3, 8)):
        i = rng.randint(1 if grad and rng.random() < 0.95 else 0, len(h) - 1)
        t = h[i]
        what = rng.random()
        if what < 0.55:
            statement = f"h.append(h[{i}]{some_view(rng, t, grad)})"
        elif what < 0.9 and repeats(t):  # where each write lands in PyTorch is not defined
            continue
        elif what < 0.9:
            statement = some_write(rng, i, t)
            # Deprecated there, refused here; and filling an expanded tensor fails in its backward.
            if ("]" in statement[5:] or grad) and 0 in t.stride():
                continue
            if grad and rng.random() < 0.15:
                statement = f"with L.no_grad(): {statement}"
        else:
            op = rng.choice(["* 2", "+ 1", ".exp()", ".sigmoid()", ".clone()", ".relu()", f"* h[{i}]", ".sum()"])
            # PyTorch keeps the strides of a transposed operand; here results are row-major.
            statement = f"h.append(h[{i}].contiguous() {op})"
        program.append(statement)
        try:
            exec(statement, names)
        except Exception:  # the error is part of the program's outcome
            pass
    if grad:
        program.append("sum((t.abs() ** 2).sum() * (k + 1) for k, t in enumerate(h) if t.requires_grad).backward()")
    return program


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor", "ignore:Casting complex")
@pytest.mark.parametrize("seed", range(40))
def test_fuzz_aliases(seed):
    rng = random.Random(seed)
    for _ in range(5):
        same_end(fuzz_program(rng, False))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor", "ignore:Casting complex")
@pytest.mark.parametrize("seed", range(40))
def test_fuzz_gradients(seed):
    rng = random.Random(1000 + seed)
    for _ in range(5):
        same_end(fuzz_program(rng, True))
