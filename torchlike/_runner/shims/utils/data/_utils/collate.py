"""torch.utils.data._utils.collate: the dtypes of numpy that make no tensor."""

import re

np_str_obj_array_pattern = re.compile(r"[SaUO]")
