"""torch.special: special functions, most of them pointwise."""

from __future__ import annotations

from torchlike._ops.table import TABLE
from torchlike._tensor.forms import FUNCTIONS, build

# Names of functions that the top-level namespace has too, some under another name.
_SHARED = {
    "digamma": "digamma", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv", "exp2": "exp2",
    "expit": "sigmoid", "expm1": "expm1", "gammainc": "igamma", "gammaincc": "igammac",
    "gammaln": "lgamma", "i0": "i0", "log1p": "log1p", "log_softmax": "log_softmax",
    "logit": "logit", "logsumexp": "logsumexp", "multigammaln": "mvlgamma",
    "polygamma": "polygamma", "psi": "digamma", "round": "round", "sinc": "sinc",
    "softmax": "softmax", "xlogy": "xlogy",
}  # fmt: skip
_PREFIX = "special_"

_functions = {name: FUNCTIONS[old] for name, old in _SHARED.items()}
for _name, _op in TABLE.items():
    if _name.startswith(_PREFIX):
        _functions[_name[len(_PREFIX) :]] = build(_op, "function")
globals().update(_functions)

__all__ = sorted(_functions)
