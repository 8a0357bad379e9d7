"""torch.distributions: divergences, constraints, transforms and the registry, against PyTorch's."""

import copy
import pickle

import numpy as np
import pytest

import torchlike
from tests.test_distributions import BOTH, LOWER, MATRIX, assert_same, outcome, tensor, torch
from torchlike.distributions.kl import registry

# ---- divergences --------------------------------------------------------------------------------

# Two of each family: the first stands for p, the second for q.
PAIRS = {
    "Bernoulli": ({"probs": [0.2, 1.0]}, {"probs": [0.7, 0.5]}),
    "Beta": (
        {"concentration1": [0.5, 2.0], "concentration0": [1.5, 0.7]},
        {"concentration1": [0.9, 3.0], "concentration0": [2.5, 0.9]},
    ),
    "Binomial": ({"total_count": 5, "probs": [0.3, 0.9]}, {"total_count": 4, "probs": [0.5, 0.5]}),
    "Categorical": (
        {"probs": [[0.3, 0.9, 0.5], [0.0, 1, 1]]},
        {"probs": [[0.3, 0.2, 0.5], [1.0, 0, 1]]},
    ),
    "Cauchy": ({"loc": [0.0, 1], "scale": [1.0, 2]}, {"loc": [1.0, 1], "scale": [1.5, 2]}),
    "Chi2": ({"df": [1.0, 3]}, {"df": [2.0, 2]}),
    "ContinuousBernoulli": ({"probs": [0.2, 0.9]}, {"probs": [0.3, 0.6]}),
    "Dirichlet": ({"concentration": [0.5, 1, 3]}, {"concentration": [1.5, 1, 2]}),
    "Exponential": ({"rate": [0.5, 2]}, {"rate": [1.5, 0.2]}),
    "Gamma": (
        {"concentration": [0.5, 2.0], "rate": [1.5, 0.7]},
        {"concentration": [0.9, 3.0], "rate": [2.5, 0.9]},
    ),
    "Geometric": ({"probs": [0.2, 0.9]}, {"probs": [0.3, 0.6]}),
    "Gumbel": ({"loc": [0.0, 1], "scale": [1.0, 2]}, {"loc": [1.0, 1], "scale": [1.5, 2]}),
    "HalfNormal": ({"scale": [1.0, 2]}, {"scale": [1.5, 2]}),
    "Laplace": ({"loc": [0.0, 1], "scale": [1.0, 2]}, {"loc": [1.0, 1], "scale": [1.5, 2]}),
    "LogNormal": ({"loc": [0.0, 1], "scale": [1.0, 2]}, {"loc": [1.0, 1], "scale": [1.5, 2]}),
    "LowRankMultivariateNormal": (
        {"loc": [[0.0, 1], [1, 1]], "cov_factor": [[1.0], [0.5]], "cov_diag": [1.0, 2]},
        {"loc": [0.0, 1], "cov_factor": [[1.0, 2], [0.5, 0]], "cov_diag": [1.0, 3]},
    ),
    "MultivariateNormal": (
        {"loc": [[0.0, 1], [1, 1]], "covariance_matrix": MATRIX},
        {"loc": [0.0, 1], "scale_tril": [LOWER, [[2.0, 0], [1, 1]]]},
    ),
    "Normal": ({"loc": [0.0, 1], "scale": [1.0, 2]}, {"loc": [1.0, 1], "scale": [1.5, 2]}),
    "OneHotCategorical": ({"probs": [0.3, 0.9, 0.5]}, {"probs": [0.3, 0.2, 0.5]}),
    "Pareto": ({"scale": [1.0, 2], "alpha": [3, 1.5]}, {"scale": [0.5, 3], "alpha": [2.0, 3]}),
    "Poisson": ({"rate": [0.5, 2]}, {"rate": [1.5, 0.2]}),
    "Uniform": ({"low": [0.1, 1], "high": [0.9, 3]}, {"low": [-0.1, 1], "high": [1.1, 2.5]}),
    "Wishart": (
        {"df": [3.0, 5], "covariance_matrix": MATRIX},
        {"df": [4.0, 5], "covariance_matrix": [[2.0, 0.6], [0.6, 4]]},
    ),
}


def divergence(m, p, q, grad=False):
    made, tensors = [], []
    for family, which in ((p, 0), (q, 1)):
        parameters = {
            name: tensor(m, v, grad=True) if isinstance(v, list) else v
            for name, v in PAIRS[family][which].items()
        }
        tensors += [t for t in parameters.values() if isinstance(t, m.Tensor)]
        made.append(getattr(m.distributions, family)(**parameters))
    value = outcome(lambda: m.distributions.kl_divergence(*made))
    if grad and isinstance(value, m.Tensor) and value.requires_grad:
        value.sum().backward()
    return value, [t.grad for t in tensors]


@pytest.mark.parametrize("p", PAIRS)
def test_divergences(p):
    """Every registered pair, and those found by way of a base class."""
    registered = {b.__name__ for a, b in torch.distributions.kl._KL_REGISTRY if a.__name__ == p}
    for q in sorted(registered | {p}):
        expected, slopes = divergence(torch, p, q, grad=p == q)
        got, ours = divergence(torchlike, p, q, grad=p == q)
        assert_same(expected, got, f"KL({p} || {q})", 2e-7)
        for a, b in zip(slopes, ours, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert_same(a, b, f"gradient of KL({p} || {q})", 2e-6)


def test_the_same_pairs_are_registered():
    theirs = {(p.__name__, q.__name__) for p, q in torch.distributions.kl._KL_REGISTRY}
    assert theirs == {(p.__name__, q.__name__) for p, q in registry._REGISTRY}


def test_divergence_of_independent_and_transformed():
    both = []
    for m in BOTH:
        D = m.distributions
        p = D.Normal(tensor(m, [[0.0, 1, 2]]), tensor(m, 1.0))
        q = D.Normal(tensor(m, [[1.0, 1, 1]]), tensor(m, 2.0))
        exp = [D.ExpTransform()]
        both.append([
            D.kl_divergence(D.Independent(p, 1), D.Independent(q, 1)),
            D.kl_divergence(*(D.TransformedDistribution(d, exp) for d in (p, q))),
            outcome(lambda D=D, p=p, q=q: D.kl_divergence(
                D.Independent(p, 1), D.Independent(q, 2)
            )),
            outcome(lambda D=D, p=p, q=q: D.kl_divergence(
                D.LogNormal(p.loc, p.scale), D.TransformedDistribution(q, D.TanhTransform())
            )),
        ])  # fmt: skip
    for i, (expected, got) in enumerate(zip(*both, strict=True)):
        assert_same(expected, got, f"{i}")


def test_registering_a_pair():
    D = torchlike.distributions

    class A(D.Normal):
        pass

    class B(A):
        pass

    before = dict(registry._REGISTRY)
    try:
        assert D.kl_divergence(A(0.0, 1.0), B(0.0, 1.0)) == 0
        D.register_kl(A, D.Normal)(lambda p, q: "A, Normal")
        assert D.kl_divergence(B(0.0, 1.0), A(0.0, 1.0)) == "A, Normal"
        D.register_kl(D.Normal, B)(lambda p, q: "Normal, B")
        with pytest.warns(RuntimeWarning, match=r"Ambiguous kl_divergence\(B, B\)"):
            assert D.kl_divergence(B(0.0, 1.0), B(0.0, 1.0)) == "A, Normal"
    finally:
        registry._REGISTRY.clear()
        registry._REGISTRY.update(before)
        registry._FOUND.clear()


# ---- constraints --------------------------------------------------------------------------------

NUMBERS = [-1.5, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, float("nan"), float("inf")]
VECTORS = [[0.2, 0.8], [1.0, 0.0], [0.0, 0.0], [-0.5, 1.5], [2.0, 1.0], [0.5, float("nan")]]
MATRICES = [
    [[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.5], [0.5, 1.0]], [[1.0, 2.0], [2.0, 1.0]],
    [[1.0, 1.0], [1.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.5, 2.0]],
    [[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.3], [0.2, 1.0]],
]  # fmt: skip
SYMMETRIC = [x for x in MATRICES if x[0][1] == x[1][0]]
CONSTRAINTS = {
    **{name: (lambda c, name=name: getattr(c, name), NUMBERS) for name in (
        "boolean", "nonnegative", "nonnegative_integer", "positive", "positive_integer", "real",
        "unit_interval",
    )},
    **{name: (lambda c, name=name: getattr(c, name), VECTORS) for name in (
        "one_hot", "real_vector", "simplex",
    )},
    **{name: (lambda c, name=name: getattr(c, name), MATRICES) for name in (
        "corr_cholesky", "lower_cholesky", "lower_triangular", "square", "symmetric",
    )},
    # PyTorch looks at the eigenvalues only if all matrices are symmetric.
    **{name: (lambda c, name=name: getattr(c, name), SYMMETRIC) for name in (
        "positive_definite", "positive_semidefinite",
    )},
    "integer_interval": (lambda c: c.integer_interval(0, 2), NUMBERS),
    "interval": (lambda c: c.interval(-1, 2.0), NUMBERS),
    "half_open_interval": (lambda c: c.half_open_interval(-1, 2.0), NUMBERS),
    "greater_than": (lambda c: c.greater_than(0.5), NUMBERS),
    "greater_than_eq": (lambda c: c.greater_than_eq(0.5), NUMBERS),
    "less_than": (lambda c: c.less_than(0.5), NUMBERS),
    "integer_less_than": (lambda c: c._IntegerLessThan(1), NUMBERS),
    "multinomial": (lambda c: c.multinomial(2), VECTORS),
    "independent": (lambda c: c.independent(c.positive, 2), MATRICES),
    "cat": (lambda c: c.cat([c.positive, c.real], -1), VECTORS),
    "cat of lengths": (lambda c: c.cat([c.simplex, c.positive], 0, [2, 4]), VECTORS),
    "stack": (lambda c: c.stack([c.positive, c.real], -1), VECTORS),
    "mixture": (lambda c: c.MixtureSameFamilyConstraint(c.positive), NUMBERS),
    "mixture of vectors": (lambda c: c.MixtureSameFamilyConstraint(c.simplex), VECTORS),
    "a matrix not square": (lambda c: c.symmetric, [[1.0, 2, 3], [2, 1, 3]]),
    "dependent": (lambda c: c.dependent, NUMBERS),
    "dependent of dim": (lambda c: c.dependent(event_dim=1, is_discrete=True), NUMBERS),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints(name):
    make, values = CONSTRAINTS[name]
    both = []
    for m in BOTH:
        c = make(m.distributions.constraints)
        both.append([
            outcome(lambda c=c, m=m: c.check(tensor(m, values, "float32"))), repr(c),
            outcome(lambda c=c: c.event_dim), outcome(lambda c=c: c.is_discrete),
            m.distributions.constraints.is_dependent(c),
        ])  # fmt: skip
    for i, (expected, got) in enumerate(zip(*both, strict=True)):
        assert_same(expected, got, f"{name}, {i}")


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.independent(3, 2),
        lambda c: c.independent(c.real, -1),
        lambda c: c.cat([3]),
        lambda c: c.cat([c.real], 0, [1, 2]),
        lambda c: c.MixtureSameFamilyConstraint(3),
    ],
)
def test_constraints_refuse(call):
    texts = []
    for m in BOTH:
        with pytest.raises(AssertionError) as caught:
            call(m.distributions.constraints)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_dependent_property():
    c = torchlike.distributions.constraints

    class Mine:
        @c.dependent_property(is_discrete=False, event_dim=0)
        def support(self):
            return c.interval(0, 2)

    assert c.is_dependent(Mine.support) and Mine.support.event_dim == 0
    assert repr(Mine().support) == "Interval(lower_bound=0, upper_bound=2)"


# ---- transforms ---------------------------------------------------------------------------------

LINE = [-1.2, 0.1, 0.7, 2.5]
POSITIVE = [0.2, 0.6, 1.3, 2.5]
SQUARE = [[0.5, 0.2, -0.3], [0.1, -0.4, 0.9], [0.3, 0.6, 0.7]]
TRANSFORMS = {
    "abs": (lambda m, T: T.AbsTransform(), LINE),
    "affine": (lambda m, T: T.AffineTransform(1.0, -2), LINE),
    "affine of tensors": (
        lambda m, T: T.AffineTransform(tensor(m, [[1.0], [2]]), tensor(m, 0.5)), LINE,
    ),
    "affine of events": (lambda m, T: T.AffineTransform(1.0, tensor(m, [2.0, 1, 3, -1]), 1), LINE),
    "exp": (lambda m, T: T.ExpTransform(), LINE),
    "power": (lambda m, T: T.PowerTransform(tensor(m, 1.7)), POSITIVE),
    "power below 0": (lambda m, T: T.PowerTransform(tensor(m, [[-2.0], [0.5]])), POSITIVE),
    "sigmoid": (lambda m, T: T.SigmoidTransform(), LINE),
    "softplus": (lambda m, T: T.SoftplusTransform(), LINE),
    "tanh": (lambda m, T: T.TanhTransform(), LINE),
    "cdf": (
        lambda m, T: T.CumulativeDistributionTransform(
            m.distributions.Normal(tensor(m, 0.0), tensor(m, 1.5))
        ), LINE,
    ),
    "identity": (lambda m, T: T.identity_transform, LINE),
    "compose": (lambda m, T: T.ComposeTransform([
        T.AffineTransform(1.0, -2), T.SigmoidTransform(), T.PowerTransform(tensor(m, 3.0)),
    ]), LINE),
    "compose of events": (
        lambda m, T: T.ComposeTransform([T.ExpTransform(), T.StickBreakingTransform()]), LINE,
    ),
    "independent": (lambda m, T: T.IndependentTransform(T.ExpTransform(), 1), SQUARE),
    "reshape": (lambda m, T: T.ReshapeTransform((3, 3), (9,)), [SQUARE, SQUARE]),
    "softmax": (lambda m, T: T.SoftmaxTransform(), SQUARE),
    "stick breaking": (lambda m, T: T.StickBreakingTransform(), SQUARE),
    "corr cholesky": (lambda m, T: T.CorrCholeskyTransform(), [0.3, -0.5, 1.2, 0.1, 0.4, -2.0]),
    "lower cholesky": (lambda m, T: T.LowerCholeskyTransform(), SQUARE),
    "positive definite": (lambda m, T: T.PositiveDefiniteTransform(), SQUARE),
    "cat": (lambda m, T: T.CatTransform([T.ExpTransform(), T.SigmoidTransform()], 0, [1, 3]), LINE),
    "cat of columns": (
        lambda m, T: T.CatTransform([T.ExpTransform(), T.TanhTransform()], -1, [1, 2]), SQUARE,
    ),
    "stack": (
        lambda m, T: T.StackTransform([T.ExpTransform(), T.TanhTransform(), T.AbsTransform()], 1),
        SQUARE,
    ),
}  # fmt: skip


def facts(m, name):
    make, value = TRANSFORMS[name]
    t, x = make(m, m.distributions.transforms), tensor(m, value, grad=True)
    y = t(x)
    yield "forward", y
    yield "inverse", t.inv(y)
    yield "log det", outcome(lambda: t.log_abs_det_jacobian(x, y))
    yield "log det of inverse", outcome(lambda: t.inv.log_abs_det_jacobian(y, x))
    for way in (t, t.inv):
        yield "repr", repr(way)
        for what in ("domain", "codomain", "bijective", "sign", "event_dim"):
            yield what, outcome(lambda what=what, way=way: getattr(way, what))
        for shape in map(m.Size, (x.shape, y.shape, (5, 6), (2, 3, 3), ())):
            yield f"shape {tuple(shape)}", outcome(lambda w=way, s=shape: w.forward_shape(s))
            yield f"inverse {tuple(shape)}", outcome(lambda w=way, s=shape: w.inverse_shape(s))
    yield "equal", (t == t, t == make(m, m.distributions.transforms), t != t.inv, t.inv.inv is t)
    cached = t.with_cache(1)
    yield "caches", (cached._cache_size, cached(x) is cached(x), cached.inv(cached(x)) is x)
    loss = y.sum()
    det = outcome(lambda: t.log_abs_det_jacobian(x, y))
    (loss if isinstance(det, Exception) else loss + det.sum()).backward()
    yield "gradient", x.grad


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    for (what, expected), (_, got) in zip(facts(torch, name), facts(torchlike, name), strict=True):
        assert_same(expected, got, what, 1e-9)


BAD = {
    "cache size": lambda m, T: T.ExpTransform(cache_size=2),
    "bare": lambda m, T: T.Transform()(m.ones(2)),
    "too few dimensions": lambda m, T: T.IndependentTransform(T.ExpTransform(), 1)(m.tensor(1.0)),
    "reshape": lambda m, T: T.ReshapeTransform((2, 3), (5,)),
    "stack": lambda m, T: T.StackTransform([T.ExpTransform()])(m.ones(3)),
    "cat": lambda m, T: T.CatTransform([T.ExpTransform()])(m.ones(3)),
    "no transform": lambda m, T: T.CatTransform([3]),
    "lengths": lambda m, T: T.CatTransform([T.ExpTransform()], 0, [1, 2]),
    "dim": lambda m, T: T.StackTransform([T.ExpTransform()], 3)(m.ones(2)),
    "constraint's dim": lambda m, T: m.distributions.constraints.cat(
        [m.distributions.constraints.real], 3
    ).check(m.ones(2)),
    "not triangular": lambda m, T: T.CorrCholeskyTransform()(m.ones(4)),
    "no bijection": lambda m, T: m.distributions.biject_to(m.distributions.constraints.symmetric),
    "no transform to": lambda m, T: m.distributions.transform_to(
        m.distributions.constraints.boolean
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_transform_errors(name):
    errors = []
    for m in BOTH:
        with pytest.raises(Exception) as caught:
            BAD[name](m, m.distributions.transforms)
        errors.append((caught.type, str(caught.value)))
    assert errors[0] == errors[1]


def test_copies_of_transforms():
    T = torchlike.distributions.transforms
    t = T.ComposeTransform([T.ExpTransform(), T.AffineTransform(1.0, 2.0)])
    for way in (t, t.inv, T.SigmoidTransform().inv):
        for again in (copy.deepcopy(way), pickle.loads(pickle.dumps(way))):
            assert again == way and again.inv.inv == way


# ---- the registry -------------------------------------------------------------------------------

REGISTERED = {
    name: make for name, (make, _) in CONSTRAINTS.items()
    if name in (
        "corr_cholesky", "greater_than", "half_open_interval", "interval", "less_than",
        "lower_cholesky", "nonnegative", "positive", "positive_definite", "positive_semidefinite",
        "real", "real_vector", "simplex", "unit_interval", "cat", "stack", "independent",
    )
}  # fmt: skip


@pytest.mark.parametrize("name", REGISTERED)
@pytest.mark.parametrize("way", ["biject_to", "transform_to"])
def test_registry(way, name):
    both = []
    for m in BOTH:
        c = REGISTERED[name](m.distributions.constraints)
        t = outcome(lambda m=m, c=c: getattr(m.distributions, way)(c))
        if isinstance(t, Exception):
            both.append([t])
            continue
        size = t.domain.event_dim
        value = tensor(m, [LINE[:3], SQUARE[0], SQUARE, SQUARE][size] if size else LINE[:2])
        if name == "cat" or name == "stack":
            value = tensor(m, [[0.3, -0.2], [0.1, 2.0]])
        y = t(value)
        both.append([repr(t), y, c.check(y), t.inv(y)])
    assert len(both[0]) == len(both[1])
    for expected, got in zip(*both, strict=True):
        assert_same(expected, got, name)


def test_registering_a_constraint():
    D = torchlike.distributions
    own = D.constraint_registry.ConstraintRegistry()

    @own.register(D.constraints.positive)
    def factory(constraint):
        return D.ExpTransform()

    assert own(D.constraints.greater_than(3)) == D.ExpTransform()
    with pytest.raises(TypeError, match="Constraint subclass or instance"):
        own.register(3, factory)
    assert np.isfinite(D.transform_to(D.constraints.simplex)(torchlike.zeros(3)).numpy()).all()
