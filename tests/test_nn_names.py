"""Names of torch.nn that layers written elsewhere import, and modules there without an import."""

import pytest

import torchlike

from .test_nn_corners import ramp, told
from .test_nn_utils import outcome, same

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")


def case_names_for_layers_written_elsewhere(lib):
    nn, f, made = lib.nn, lib.nn.functional, lib.nn.modules.transformer
    q, k, w, b = ramp(lib, 2, 3), ramp(lib, 4, 3), ramp(lib, 9, 3), ramp(lib, 9)
    mask = made._generate_square_subsequent_mask(3)
    copies = made._get_clones(nn.Linear(1, 1), 2)
    sizes, losses = nn.modules.utils, nn._reduction
    return [
        f._in_projection_packed(q, q, q, w, b), f._in_projection_packed(q, k, k, w),
        f._in_projection(q, k, k, w[:3], w[3:6], w[6:]),
        told(f._in_projection, q, k, k, w, w, w),
        f._canonical_mask(mask > -1, "a", None, "b", lib.float64),
        f._canonical_mask(mask, "a", lib.bool, "b", lib.float64),
        told(f._canonical_mask, mask.long(), "a", None, "b", lib.float32),
        f._none_or_dtype(None), f._none_or_dtype(mask), told(f._none_or_dtype, 3),
        repr(copies), copies[0] is copies[1], made._get_activation_fn("gelu") is f.gelu,
        told(made._get_activation_fn, "no"), mask, made._detect_is_causal_mask(mask),
        made._detect_is_causal_mask(mask, False), made._detect_is_causal_mask(mask, None, 2),
        made._get_seq_len(lib.ones(2, 3, 4), True), made._get_seq_len(lib.ones(2, 3), True),
        sizes._reverse_repeat_tuple((1, 2), 2), sizes._list_with_default((None, 5), (1, 2, 3)),
        told(sizes._list_with_default, (1, 2), (3, 4)), nn.modules.module._addindent("a\nb", 3),
        [losses.get_enum(r) for r in ("none", "mean", "sum")], told(losses.get_enum, "no"),
        losses.legacy_get_string(None, None), losses.legacy_get_enum(False, None, False),
        losses.legacy_get_enum(True, False, False), nn.factory_kwargs({"dtype": lib.half}),
        told(nn.factory_kwargs, {"no": 1}), nn.factory_kwargs(None),
        told(nn.factory_kwargs, {"dtype": 1, "factory_kwargs": {"dtype": 2}}),
    ]  # fmt: skip


def case_modules_that_need_no_import(lib):
    sizes = lib.nn.common_types._size_2_t
    return [
        lib.nn.utils.fusion.fuse_conv_bn_eval.__name__,
        str(sizes),
        lib.nn.utils.init.__name__[-4:],
    ]


CASES = {k: f for k, f in list(globals().items()) if k.startswith("case_")}


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    same(outcome(CASES[name], torchlike), outcome(CASES[name], torch), 1e-5, name)
