"""torch.jit.annotations: the names of ``typing`` that programs import from there."""

from typing import Any as Any
from typing import Dict as Dict  # noqa: UP035
from typing import List as List  # noqa: UP035
from typing import Optional as Optional
from typing import Tuple as Tuple  # noqa: UP035
from typing import Union as Union

from torchlike.futures import Future as Future

BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = List  # noqa: UP006
