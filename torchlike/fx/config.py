"""torch.fx.config: what programs set; nothing here depends on it."""

disable_progress = True
verbose_progress = False
do_not_emit_stack_traces = False

__all__: list[str] = []
