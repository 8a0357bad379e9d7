"""torch.distributions, family by family: values, samples and their gradients are PyTorch's."""

import pickle
import warnings

import jax
import numpy as np
import pytest

import torchlike
from torchlike._tensor import gamma, random

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")

BOTH = (torch, torchlike)
MATRIX = [[1.0, 0.3], [0.3, 2.0]]
LOWER = [[1.0, 0.0], [0.3, 2.0]]
LOGITS = [[0.3, -1.2, 0.4], [1.5, 0.1, -0.7]]


@pytest.fixture(autouse=True)
def validation():
    """On in both: real torch turns its own off for good once anything uses its compiler."""
    for m in BOTH:
        m.distributions.Distribution.set_default_validate_args(True)
    yield
    torchlike.distributions.Distribution.set_default_validate_args(True)


class Row:
    """A family with parameters and a value; lists become tensors, Python numbers stay numbers."""

    def __init__(self, family, value, rtol=1e-7, differs=(), dtype="float64", **parameters):
        self.family, self.value, self.parameters = family, value, parameters
        self.rtol, self.differs, self.dtype = rtol, differs, dtype

    def __repr__(self):
        return f"{self.family}({', '.join(self.parameters)})"

    def build(self, m, dtype, grad=False):
        """(distribution, its tensors) of one of both libraries."""
        tensors = {
            k: tensor(m, v, dtype, grad)
            for k, v in self.parameters.items()
            if isinstance(v, (list, np.ndarray))
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = getattr(m.distributions, self.family)(**{**self.parameters, **tensors})
        return made, tensors


def tensor(m, value, dtype="float64", grad=False):
    array = np.array(value)
    t = m.tensor(array.astype(dtype) if array.dtype.kind == "f" else array)
    return t.requires_grad_() if grad and t.is_floating_point() else t


S = np.array  # a 0-d tensor
ROWS = [
    Row("Bernoulli", [0.0, 1, 1], probs=[0.2, 0.5, 0.9]),
    Row("Bernoulli", [0.0, 1], logits=[-0.2, 0.5]),
    Row("Bernoulli", [1.0], probs=0.3),
    Row("Beta", [0.3, 0.9], concentration1=[0.5, 2.0], concentration0=[1.5, 0.7]),
    Row("Beta", [[0.3], [0.9]], concentration1=2.0, concentration0=[1.5, 0.7]),
    Row("Binomial", [2.0, 5], total_count=5, probs=[0.3, 0.9]),
    Row("Binomial", [2.0, 35], total_count=40, logits=[0.3, 0.9]),
    Row("Categorical", S(2), probs=[0.3, 0.9, 0.5]),
    Row("Categorical", [2, 1], logits=LOGITS),
    Row("Cauchy", [0.3, -0.9], loc=[0.0, 1], scale=[1.0, 2]),
    Row("Chi2", [0.3, 0.9], df=[1.0, 5]),
    Row("ContinuousBernoulli", [0.3, 0.4, 0.6], probs=[0.2, 0.5, 0.9]),
    Row("ContinuousBernoulli", [0.3, 0.4, 0.6], logits=[0.2, 0.001, -0.9]),
    Row("Dirichlet", [0.2, 0.3, 0.5], concentration=[[0.5, 0.2, 0.3], [1, 2, 3.0]]),
    Row("Exponential", [0.3, 1], rate=[0.5, 2]),
    Row("FisherSnedecor", [0.3, 1], df1=[1.0, 5], df2=[2.0, 9]),
    Row("Gamma", [0.3, 1], concentration=[0.5, 3], rate=[1.0, 2]),
    Row("Gamma", [0.3, 1], concentration=[[0.5], [30]], rate=2.0),
    # PyTorch's compares with a float32 zero and raises in float64.
    Row("GeneralizedPareto", [0.3, 1, 1.5], dtype="float32", rtol=1e-5,
        loc=[0.0, 0, 1], scale=[1.0, 2, 1], concentration=[0.0, 0.3, -0.2]),
    Row("Geometric", [2.0, 0], probs=[0.3, 1]),
    Row("Geometric", [2.0, 0], logits=[0.3, 1]),
    Row("Gumbel", [0.3, -0.9], loc=[0.0, 1], scale=[1.0, 2]),
    Row("HalfCauchy", [0.3, 0.9], scale=[1.0, 2]),
    Row("HalfNormal", [0.3, 0.9], scale=[1.0, 2]),
    Row("InverseGamma", [0.3, 1], concentration=[0.5, 3], rate=[1.0, 2]),
    # PyTorch's mode is nan for all parameters.
    Row("Kumaraswamy", [0.3, 0.9], concentration1=[0.5, 2], concentration0=[1.5, 0.7],
        differs=("mode",)),
    Row("LKJCholesky", [[1.0, 0, 0], [0.6, 0.8, 0], [0.0, 0.6, 0.8]], dim=3,
        concentration=[0.5, 2]),
    Row("Laplace", [0.3, -0.9], loc=[0.0, 1], scale=[1.0, 2]),
    Row("LogNormal", [0.3, 0.9], loc=[0.0, 1], scale=[1.0, 2]),
    Row("LogisticNormal", [0.3, 0.3, 0.4], loc=[0.0, 1], scale=[1.0, 2]),
    Row("LowRankMultivariateNormal", [0.3, 0.4], loc=[[0.0, 1], [1, 1]],
        cov_factor=[[1.0], [0.5]], cov_diag=[1.0, 2]),
    Row("Multinomial", [1.0, 2, 1], total_count=4, probs=[0.3, 0.9, 0.5]),
    Row("Multinomial", [1.0, 2, 1], total_count=4, logits=LOGITS),
    Row("MultivariateNormal", [0.3, 0.4], loc=[[0.0, 1], [1, 1]], covariance_matrix=MATRIX),
    Row("MultivariateNormal", [0.3, 0.4], loc=[0.0, 1], precision_matrix=MATRIX),
    Row("MultivariateNormal", [0.3, 0.4], loc=[0.0, 1], scale_tril=[LOWER, [[2.0, 0], [1, 1]]]),
    Row("NegativeBinomial", [2.0, 0], total_count=[3, 5.5], probs=[0.3, 0.6]),
    Row("NegativeBinomial", [2.0, 0], total_count=3, logits=[0.3, -0.6]),
    Row("Normal", [0.3, -0.9], loc=[0.0, 1], scale=[1.0, 2]),
    Row("Normal", [0.3, -0.9], loc=0.0, scale=1, dtype="float32", rtol=1e-6),
    Row("OneHotCategorical", [0.0, 1, 0], probs=[0.3, 0.9, 0.5]),
    Row("OneHotCategoricalStraightThrough", [0.0, 0, 1], logits=LOGITS),
    Row("Pareto", [1.3, 2.9], scale=[1.0, 2], alpha=[1.5, 3]),
    Row("Poisson", [1.0, 2], rate=[0.5, 3]),
    Row("RelaxedBernoulli", [0.2, 0.6], temperature=S(0.7), probs=[0.2, 0.5]),
    Row("RelaxedOneHotCategorical", [0.2, 0.6, 0.2], temperature=S(0.7), logits=[0.2, 0.5, 1]),
    Row("StudentT", [0.3, -0.9], df=[0.5, 3], loc=[0.0, 1], scale=[1.0, 2]),
    Row("StudentT", [0.3], df=[1.5]),
    Row("Uniform", [0.3, 1.9], low=[0.0, 1], high=[1.0, 3]),
    # PyTorch's Bessel functions are polynomials of 7 digits.
    Row("VonMises", [0.3, 0.9], loc=[0.0, 1], concentration=[0.5, 30], rtol=1e-5),
    Row("Weibull", [0.3, 0.9], scale=[1.0, 2], concentration=[1.5, 0.7]),
    Row("Wishart", [[1.0, 0.2], [0.2, 1]], df=[3.0, 5], covariance_matrix=MATRIX),
    Row("Wishart", [[1.0, 0.2], [0.2, 1]], df=5.0, scale_tril=LOWER),
]  # fmt: skip
every_row = pytest.mark.parametrize("row", ROWS, ids=map(repr, ROWS))


def outcome(call):
    """What a call gives: its result, or the exception it raises."""
    try:
        return call()
    except (NotImplementedError, ValueError, RuntimeError) as error:
        return error


def assert_same(expected, got, what, rtol=1e-7):
    if isinstance(expected, Exception) or isinstance(got, Exception):
        assert type(expected) is type(got), f"{what}: {expected!r} and {got!r}"
    elif isinstance(expected, torch.Tensor):
        assert str(expected.dtype) == str(got.dtype), what
        assert tuple(expected.shape) == tuple(got.shape), what
        np.testing.assert_allclose(
            got.detach().numpy(), expected.detach().numpy(), rtol, rtol / 10, err_msg=what
        )
    else:
        assert repr(expected).replace("torch.", "") == repr(got).replace("torchlike.", "").replace(
            "torch.", ""
        ), what


def facts(m, row):
    """All that can be asked of a distribution, by name."""
    d, tensors = row.build(m, row.dtype, grad=True)
    value = tensor(m, row.value, row.dtype)
    for name in (
        "mean", "mode", "variance", "stddev", "batch_shape", "event_shape", "support",
        "has_rsample", "has_enumerate_support", "arg_constraints",
    ):  # fmt: skip
        yield name, outcome(lambda name=name: getattr(d, name))
    yield "repr", repr(d)
    for name in ("entropy", "perplexity", "enumerate_support"):
        yield name, outcome(getattr(d, name))
    yield "not expanded", outcome(lambda: d.enumerate_support(False))
    for name in ("log_prob", "cdf"):
        yield name, outcome(lambda name=name: getattr(d, name)(value))
    if not d.event_shape:
        yield "icdf", outcome(lambda: d.icdf(tensor(m, [[0.3], [0.8]], row.dtype)))
    wide = d.expand((2, *d.batch_shape))
    yield "expanded", repr(wide)
    yield "log_prob of expanded", outcome(lambda: wide.log_prob(value))
    yield "mean of expanded", outcome(lambda: wide.mean)
    log_prob = outcome(lambda: d.log_prob(value))
    if not isinstance(log_prob, Exception) and tensors:
        log_prob.sum().backward()
        for name, t in tensors.items():
            yield f"gradient of log_prob by {name}", t.grad


@every_row
def test_values(row):
    theirs, ours = dict(facts(torch, row)), dict(facts(torchlike, row))
    assert theirs.keys() == ours.keys()
    for what, expected in theirs.items():
        if what not in row.differs:
            assert_same(expected, ours[what], what, row.rtol)


def draws(m, row):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        d, _ = row.build(m, "float32")
        m.manual_seed(3)
        drawn = d.sample((2, 3))
        yield "sample", drawn
        yield "the next number", m.rand(1)
        yield "in the support", d.support.check(drawn)
        if not d.has_rsample:
            return
        d, tensors = row.build(m, "float32", grad=True)
        m.manual_seed(5)
        drawn = d.rsample((3,))
        yield "rsample", drawn
        if row.family != "Wishart" and tensors:  # PyTorch's raises in its own in-place update
            (drawn * drawn).sum().backward()
            for name, t in tensors.items():
                yield f"gradient of rsample by {name}", t.grad


@every_row
def test_samples(row):
    """The same seed gives the same numbers, up to rounding, and leaves the same state behind."""
    for (what, expected), (_, got) in zip(draws(torch, row), draws(torchlike, row), strict=True):
        # PyTorch's gradients of gamma and Dirichlet samples are approximations of 3 to 4 digits.
        assert_same(expected, got, what, 1e-3 if "gradient" in what else 2e-5)


def test_an_infinite_variance_has_no_gradient():
    found = []
    for m in (torch, torchlike):
        df = m.tensor([0.5, 1.0, 2.0, 5.0], requires_grad=True)
        m.distributions.StudentT(df, 1.0, 2.0).variance.sum().backward()
        found.append(df.grad.tolist())
    assert found[1] == pytest.approx(found[0])


def test_wishart_samples_have_a_gradient():
    row = ROWS[-1]
    d, tensors = row.build(torchlike, "float64", grad=True)
    torchlike.manual_seed(0)
    d.rsample((4,)).sum().backward()
    assert tensors["scale_tril"].grad.isfinite().all() and tensors["scale_tril"].grad[0, 0] != 0


def test_gradient_of_beta_samples():
    """Against differences of the cdf: dx / da = -(dF / da) / f."""
    special = pytest.importorskip("scipy.special")
    a, b, eps = np.array([0.05, 0.7, 3, 40, 900]), np.array([0.4, 6, 0.3, 25, 300]), 1e-6
    for part in (0.01, 0.3, 0.7, 0.98):
        x = np.clip(special.betaincinv(a, b, part), 1e-8, 1 - 1e-8)
        slope = (special.betainc(a + eps, b, x) - special.betainc(a - eps, b, x)) / (2 * eps)
        ours = [torchlike.tensor(v) for v in (x, a, b, a + b)]
        density = torchlike.distributions.Beta(*ours[1:3]).log_prob(ours[0]).exp()
        got = torchlike._dirichlet_grad(ours[0], ours[1], ours[3]).numpy() * (1 - x)
        np.testing.assert_allclose(got, -slope / density.numpy(), 1e-5)


def test_draws_of_accelerators(monkeypatch):
    """The recorded draws, here on the CPU: their means and standard deviations."""

    class Numbers:
        stream = None
        offset = 0

        def next_numbers(self):
            self.offset += 1
            return 3, self.offset

    monkeypatch.setattr(gamma, "generator_of", lambda device, generator: numbers)
    monkeypatch.setattr(random, "generator_of", lambda device, generator, noted=False: numbers)
    numbers, D, n = Numbers(), torchlike.distributions, (20000,)
    for d in (D.Gamma(2.5, 2.0), D.Poisson(3.5), D.Exponential(2.0), D.Laplace(1.0, 2.0)):
        drawn = d.sample(n)
        assert d.support.check(drawn).all(), d
        assert abs(drawn.mean() - d.mean) < 5 * d.stddev / n[0] ** 0.5, d
        assert abs(drawn.std() / d.stddev - 1) < 0.1, d
    assert abs((D.Cauchy(1.0, 2.0).sample(n) < 1).float().mean() - 0.5) < 0.02
    shares = D.Dirichlet(torchlike.tensor([1e-3, 2.0, 1.0])).sample(n)
    assert np.allclose(shares.mean(0).numpy(), [0, 2 / 3, 1 / 3], atol=0.01)


# ---- made of other distributions ----------------------------------------------------------------


def mixture(m):
    D = m.distributions
    weights = D.Categorical(tensor(m, [[0.3, 0.7], [0.5, 0.5]]))
    components = D.Normal(tensor(m, [[0.0, 1], [2, 3]]), tensor(m, [1.0, 2]))
    return D.MixtureSameFamily(weights, components), tensor(m, [0.3, 1.4])


def mixture_of_vectors(m):
    D = m.distributions
    weights = D.Categorical(logits=tensor(m, LOGITS))
    base = D.Normal(tensor(m, np.arange(12.0).reshape(2, 3, 2) / 6), tensor(m, 1.5))
    return D.MixtureSameFamily(weights, D.Independent(base, 1)), tensor(m, [[0.3, 1.4]])


def independent(m):
    D = m.distributions
    base = D.Normal(tensor(m, [[0.0, 1, 2], [2, 3, 1]]), tensor(m, [1.0, 2, 3]))
    return D.Independent(base, 1), tensor(m, [0.3, 1.4, 1])


def transformed(m):
    D = m.distributions
    transforms = [D.AffineTransform(1.0, tensor(m, [-2.0, 0.5])), D.SigmoidTransform()]
    return D.TransformedDistribution(D.Normal(tensor(m, 0.5), tensor(m, 2.0)), transforms), tensor(
        m, [0.3, 0.6]
    )


def transformed_vectors(m):
    D = m.distributions
    base = D.Normal(tensor(m, [[0.0, 1], [2, 3]]), tensor(m, 1.5))
    transforms = [D.ExpTransform(), D.StickBreakingTransform()]
    return D.TransformedDistribution(base, transforms), tensor(m, [0.6, 0.3, 0.1])


@pytest.mark.parametrize(
    "make", [mixture, mixture_of_vectors, independent, transformed, transformed_vectors]
)
def test_made_of_others(make):
    both = []
    for m in BOTH:
        d, value = make(m)
        wide = d.expand((4, *d.batch_shape))
        m.manual_seed(1)
        both.append([
            repr(d), repr(d.support), d.batch_shape, d.event_shape, d.has_rsample,
            *(outcome(lambda n=n, d=d: getattr(d, n)) for n in ("mean", "variance", "stddev")),
            d.log_prob(value), outcome(lambda d=d, v=value: d.cdf(v)), outcome(d.entropy),
            outcome(lambda d=d, v=value: d.icdf(v[..., :2])),
            wide.log_prob(value), repr(wide), d.sample((3, 2)), wide.sample(),
        ])  # fmt: skip
    for i, (expected, got) in enumerate(zip(*both, strict=True)):
        assert_same(expected, got, f"{make.__name__}, {i}", 1e-6)


# ---- errors -------------------------------------------------------------------------------------

BAD = {
    "scale": lambda m, D: D.Normal(m.tensor([0.0, 1]), m.tensor([-1.0, 1])),
    "nan": lambda m, D: D.Normal(m.tensor([0.0, float("nan")]), 1.0),
    "both wrong": lambda m, D: D.Gamma(m.tensor(-1.0), m.tensor(-2.0)),
    "value nan": lambda m, D: D.Normal(0.0, 1.0).log_prob(m.tensor(float("nan"))),
    "value number": lambda m, D: D.Normal(0.0, 1.0).log_prob(1.0),
    "value shape": lambda m, D: D.Normal(m.zeros(3), 1.0).log_prob(m.zeros(2)),
    "value outside": lambda m, D: D.Uniform(0.0, 1.0).log_prob(m.tensor(3.0)),
    "event shape": lambda m, D: D.Dirichlet(m.ones(3)).log_prob(m.zeros(2)),
    "event dim": lambda m, D: D.MultivariateNormal(m.zeros(3), m.eye(3)).log_prob(m.tensor(0.0)),
    "no matrix": lambda m, D: D.MultivariateNormal(m.zeros(3)),
    "scalar loc": lambda m, D: D.MultivariateNormal(m.tensor(0.0), m.eye(3)),
    "vector matrix": lambda m, D: D.MultivariateNormal(m.zeros(3), scale_tril=m.zeros(3)),
    "not definite": lambda m, D: D.MultivariateNormal(m.zeros(2), m.tensor([[1.0, 2], [2, 1]])),
    "factor": lambda m, D: D.LowRankMultivariateNormal(m.zeros(3), m.ones(2, 1), m.ones(3)),
    "low rank batches": lambda m, D: D.LowRankMultivariateNormal(
        m.zeros(2, 3), m.ones(3, 3, 1), m.ones(3)
    ),
    "no probs": lambda m, D: D.Bernoulli(),
    "probs and logits": lambda m, D: D.Categorical(m.ones(2), m.ones(2)),
    "probs": lambda m, D: D.Bernoulli(1.5),
    "scalar probs": lambda m, D: D.Categorical(m.tensor(0.3)),
    "scalar concentration": lambda m, D: D.Dirichlet(m.tensor(0.3)),
    "counts": lambda m, D: D.Binomial(
        m.tensor([3, 4]), m.tensor([0.3, 0.4])
    ).enumerate_support(),
    "too many": lambda m, D: D.Binomial(
        m.tensor([3, 4]), m.tensor([0.3, 0.4])
    ).log_prob(m.tensor([4.0, 4])),
    "multinomial count": lambda m, D: D.Multinomial(m.tensor(3), m.ones(2)),
    "geometric zero": lambda m, D: D.Geometric(m.tensor([0.0, 0.5])),
    "low above high": lambda m, D: D.Uniform(m.tensor(1.0), m.tensor(0.0)),
    "lkj dim": lambda m, D: D.LKJCholesky(1),
    "wishart df": lambda m, D: D.Wishart(m.tensor(1.0), m.eye(3)),
    "wishart nothing": lambda m, D: D.Wishart(m.tensor(3.0)),
    "reinterpreted": lambda m, D: D.Independent(D.Normal(0.0, 1.0), 1),
    "mixture": lambda m, D: D.MixtureSameFamily(D.Normal(0.0, 1.0), D.Normal(0.0, 1.0)),
    "components": lambda m, D: D.MixtureSameFamily(
        D.Categorical(m.ones(3)), D.Normal(m.zeros(2), 1.0)
    ),
    "transforms": lambda m, D: D.TransformedDistribution(D.Normal(0.0, 1.0), 3),
    "base shape": lambda m, D: D.TransformedDistribution(
        D.Normal(0.0, 1.0), [D.StickBreakingTransform()]
    ),
    "no mode": lambda m, D: D.LKJCholesky(3).mode,
    "no rsample": lambda m, D: D.Poisson(1.0).rsample(),
    "validate": lambda m, D: D.Distribution.set_default_validate_args(3),
    "broadcast": lambda m, D: D.Normal("a", 1.0),
    "kl of others": lambda m, D: D.kl_divergence(3, 4),
    "kl of families": lambda m, D: D.kl_divergence(D.Cauchy(0.0, 1.0), D.Normal(0.0, 1.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_errors(name):
    errors = []
    for m in BOTH:
        with pytest.raises(Exception) as caught:
            BAD[name](m, m.distributions)
        errors.append((caught.type, str(caught.value).replace("torchlike.", "torch.")))
    assert errors[0] == errors[1]


def test_validation_can_be_turned_off():
    for m in BOTH:
        D = m.distributions
        assert D.Normal(0.0, -1.0, validate_args=False).log_prob(m.tensor(1.0)).isnan()
        D.Distribution.set_default_validate_args(False)
        assert D.Uniform(1.0, 0.0).low == 1


# ---- the base class -----------------------------------------------------------------------------


def test_a_family_of_ones_own():
    """The least that a subclass needs, and what it inherits."""
    for m in BOTH:
        D = m.distributions

        class Mine(D.Normal):
            def __init__(self, loc):
                super().__init__(loc, 1.0)

        class Bare(D.Distribution):
            pass

        with pytest.raises(NotImplementedError, match="must also define a custom"):
            Mine(0.0).expand((2,))
        with pytest.warns(UserWarning, match="does not define `arg_constraints`"):
            bare = Bare()
        for call in (bare.sample, bare.entropy, bare.enumerate_support, bare.perplexity):
            with pytest.raises(NotImplementedError):
                call()
        with pytest.warns(FutureWarning, match="sample_n"):
            assert D.Normal(0.0, 1.0).sample_n(2).shape == (2,)


def test_lazy_parameters():
    """What was not given is computed at its first use, with a gradient, and kept."""
    logits = torchlike.tensor([0.5, -1.0], requires_grad=True)
    d = torchlike.distributions.Bernoulli(logits=logits)
    assert "probs" not in d.__dict__
    with torchlike.no_grad():
        first = d.probs
    assert first is d.probs and first.requires_grad
    assert "probs" in d.expand((3, 2)).__dict__


def test_pickle():
    d = torchlike.distributions.LogNormal(torchlike.tensor([0.0, 1.0]), 2.0)
    again = pickle.loads(pickle.dumps(d))
    value = torchlike.tensor([0.5, 0.7])
    assert again.log_prob(value).tolist() == d.log_prob(value).tolist()


def test_vmap_over_parameters():
    def log_prob(m):
        return lambda loc: m.distributions.Normal(loc, 1.0).log_prob(m.tensor(0.5))

    expected = torch.vmap(log_prob(torch))(torch.arange(3.0))
    assert_same(expected, torchlike.vmap(log_prob(torchlike))(torchlike.arange(3.0)), "vmap", 1e-6)

    with pytest.raises(RuntimeError, match="vmap"):  # for want of a number to show, as PyTorch's
        torchlike.vmap(lambda scale: torchlike.distributions.Normal(0.0, scale).mean)(
            torchlike.tensor([1.0, -1.0])
        )


def test_inside_transformations():
    """There values have no numbers: nothing is checked, and gradients are as outside."""

    def log_prob(m):
        return lambda s: m.distributions.Normal(0.0, s).log_prob(m.tensor(0.5))

    expected = torch.func.grad(log_prob(torch))(torch.tensor(0.7))
    got = torchlike.func.grad(log_prob(torchlike))(torchlike.tensor(0.7))
    assert_same(expected, got, "grad", 1e-6)
    traced = jax.jit(log_prob(torchlike))(torchlike.tensor(0.7))
    assert abs(traced.item() - log_prob(torch)(torch.tensor(0.7)).item()) < 1e-6


def test_samples_have_no_second_derivative():
    torchlike.compiler.clear_caches()  # which may not forget it
    for make in ("Gamma", "Beta"):
        a = torchlike.tensor(1.5, requires_grad=True)
        d = getattr(torchlike.distributions, make)(a, 1.0)
        (slope,) = torchlike.autograd.grad(d.rsample() ** 2, a, create_graph=True)
        with pytest.raises(RuntimeError, match=r"derivative for .* is not implemented"):
            slope.backward()


def test_import_is_lazy():
    """The package is imported when it is named first."""
    assert torchlike.distributions is __import__("sys").modules["torchlike.distributions"]
    assert not hasattr(torchlike, "no_such_name")


def test_gradients_of_inverses_outside_their_domain():
    grads = []
    for m in BOTH:
        D = m.distributions
        x = m.linspace(-1.0, 2.0, 12).requires_grad_()
        assert D.PowerTransform(2).sign.dtype is m.float32
        y = D.SigmoidTransform().inv(x)
        assert type(D.SigmoidTransform().inv) is D.transforms._InverseTransform
        y.pow(2).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(*grads, rtol=1e-5)
