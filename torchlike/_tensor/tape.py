"""The autograd tape: nodes, and the walk that records their derivatives in reverse."""

from __future__ import annotations

import itertools
import linecache
import weakref
from heapq import heappop, heappush
from operator import attrgetter

from torchlike._core.dtypes import FLOATING
from torchlike._core.errors import SparseOperand, warn
from torchlike._engine.flush import host_array
from torchlike._engine.prefix import Stretch, local, record, record_again, record_stretch
from torchlike._engine.values import Batched, Value, overwritten_at
from torchlike._ops.table import TABLE
from torchlike._tensor.handles import Hooks, hold
from torchlike._tensor.hooks import run_hooks, run_pre_hooks, run_tensor_hooks
from torchlike._tensor.modes import modes
from torchlike._tensor.plans import Plan
from torchlike._tensor.shown import AccumulateGrad as AccumulateGrad
from torchlike._tensor.shown import end_at, named, shown_edges

_next_number = itertools.count().__next__


class Node:
    """A recorded call on the tape.

    targets[k] says where the gradient of the k-th operand that wants one goes: a leaf Tensor, or
    (Node, result index). saved holds the operands' values that the derivative needs, results the
    results'; own is the value that the call itself overwrote, if it was in place; segment is where
    the call was recorded, as long as no hook and no backward has made the node special.
    """

    hooks = pre_hooks = retained = label = own = plan = saved = results = facade = None
    used = False
    takes_none = False  # whether it is run where none of its results has a gradient

    def __init__(self, op, call, need, targets, values, results):
        plan = call.plans.get(need)
        if plan is None:
            plan = call.plans[need] = Plan(op, call, need)
        self.plan, self.targets, self.saved = plan, targets, values
        for i in plan.drop:
            values[i] = None
        if plan.keep_results:
            self.results = results
        # Not the thread's: the call may have been the last one that fitted into its segment.
        self.segment = results[0].segment
        self.number = _next_number()

    @property
    def op(self):
        """The op that was called."""
        return self.plan.op

    @property
    def call(self):
        """The recorded call."""
        return self.plan.call

    @property
    def outs(self) -> int:
        """How many results the call had."""
        return self.plan.call.outs

    def name(self) -> str:
        """PyTorch's name of this node, e.g. ``AddBackward0``."""
        return self.label or self.op.node_name(self.call.statics, self.call.in_avals)

    def __repr__(self):
        return f"<{self.name()} object at {id(self):#x}>"

    def __reduce_ex__(self, protocol):
        raise TypeError(f"cannot pickle '{self.name()}' object")

    @property
    def metadata(self) -> dict:
        """A dict for notes about this node, the user's own."""
        return self.__dict__.setdefault("notes", {})

    @property
    def requires_grad(self) -> bool:
        """True: what needs no gradient has no node."""
        return True

    def _sequence_nr(self) -> int:
        return self.number

    @property
    def edges(self) -> list:
        """Per operand: None, a leaf Tensor, or (Node, result index)."""
        targets = iter(self.targets)
        return [next(targets) if n else None for n in self.plan.need]

    def shown_edges(self) -> list:
        """The same for the operands that PyTorch lists."""
        if self.plan is None:
            return self.edges
        return shown_edges(self.op, self.call.in_avals, self.edges)

    @property
    def next_functions(self):
        """Pairs (node, index) that the gradients go to, as PyTorch lists them."""
        out = []
        for edge in self.shown_edges():
            if edge is None:
                out.append((None, 0))
            elif edge.__class__ is tuple:
                out.append((named(edge[0]), edge[1]))
            else:
                out.append((end_at(edge), 0))
        return tuple(out)

    def register_hook(self, hook):
        """Call ``hook(grad_inputs, grad_outputs)`` when this node's gradients are computed."""
        if self.hooks is None:
            self.hooks = Hooks()
            self.segment = None
        return hold(self.hooks, hook)

    def register_prehook(self, hook):
        """Call ``hook(grad_outputs)`` before this node's gradients are computed."""
        return self.add_result_hook(None, hook)

    def add_result_hook(self, index, hook):
        """Call ``hook(grad)`` with the gradient of one result (None: with all)."""
        if self.pre_hooks is None:
            self.pre_hooks = Hooks()
            self.segment = None
        return hold(self.pre_hooks, (index, hook))

    def release(self):
        """Free what was saved, if anything was; then a second backward through here is an error."""
        if self.plan is None or self.plan.saves:
            self.saved = self.results = None
        self.segment = None
        self.used = True

    @property
    def freed(self) -> bool:
        """Whether a backward has freed what another one would need."""
        return self.used and (self.plan is None or self.plan.saves)

    def derive(self, grads, graph=None):
        """Gradients for ``targets``, in order; on the tape if ``graph`` is given (see run)."""
        if self.saved is None:
            raise RuntimeError(BACKWARD_TWICE)
        plan = self.plan
        operands = self.saved if self.results is None else self.saved + self.results
        for value in operands:
            if value.__class__ is Value and value.epoch is not None:
                check_versions(self)
                break
        if graph is not None:
            return self._derive_graph(grads, graph)
        if self.segment is local.segment:
            return record_again(plan, plan.vjp, plan.statics, operands, grads)
        return record(plan.vjp, plan.statics, operands + grads)[0]

    def _derive_graph(self, grads, graph):
        history = graph.history
        tensors = [
            history(x, edge) if x.__class__ is Value else x
            for x, edge in zip(self.saved, self.edges, strict=True)
        ]
        if self.results is not None:
            tensors += [
                # An integer result (the indices of a sort) has no history, as on the way forward.
                history(r, (self, i) if r.aval.dtype.category >= FLOATING else None)
                for i, r in enumerate(self.results)
            ]
        out = graph.apply(self.plan.vjp, tensors + grads, self.plan.statics)
        out = out if isinstance(out, tuple) else (out,)
        if self.own is not None:  # what this derivative is given of it is no newer
            for result in out:
                if result._node is not None:
                    result._node.own = self.own
        return out


class Barrier(Node):
    """A call through which no gradient passes: its operands get None, not zeros."""

    freed = False

    def derive(self, grads, graph=None):
        """None for every target."""
        return [None] * len(self.targets)


class Refused(Node):
    """The history of a tensor that autograd cannot follow: a backward through it raises why."""

    op = call = segment = None
    outs = 1

    def __init__(self, name: str, reason: str, targets=()):
        self.number, self.label, self.reason = _next_number(), name, reason
        self.targets = list(targets)

    @property
    def edges(self) -> list:
        """Where a gradient would go."""
        return self.targets

    def name(self) -> str:
        return self.label or "Invalid"

    def derive(self, grads, graph=None):
        """Raises the reason."""
        raise RuntimeError(self.reason)


def barred(result):
    """The result of a call; where PyTorch defines no gradient, none reaches the operands."""
    if result._node is not None:
        result._node.__class__ = Barrier
    return result


BACKWARD_TWICE = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you call "
    ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
    "graph a second time or if you need to access saved tensors after calling backward."
)


def check_versions(node: Node) -> None:
    """Raise if what PyTorch would have saved has been overwritten by an in-place op since."""
    saves = node.op.saves
    if saves == "nothing" or modes.mutation:
        return
    held = () if saves == "result" or node.saved is None else node.saved
    if saves in ("result", "both") and node.results is not None:
        indices = [r for r in node.results if r.aval.dtype.category < FLOATING]
        held = (*held, *(indices or node.results))  # of (values, indices) PyTorch needs these
    for i, value in enumerate(held):
        if value.__class__ is Value and value.epoch is not None:
            if value is node.own and not i:  # an in-place call may overwrite its own operand
                continue
            line = overwritten_at(value)
            if line is not None:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: [torch.{value.aval.dtype.name} "
                    f"{list(value.aval.shape)}], saved for {node.name()} at {node.call.line}, "
                    f"overwritten at {line}. Use an out-of-place operation there, or clone() the "
                    "tensor before it."
                )


def keep_retained(tensor) -> None:
    """Let ``retain_grad`` follow a tensor to the node that made what it holds now."""
    node = tensor._node
    if node is None:
        return
    if node.retained is None:
        node.retained = {}
        node.segment = None  # see Node
    node.retained[tensor._index] = weakref.ref(tensor)


# ---- the walk ----------------------------------------------------------------------------------


# Set by sparse/arithmetic.py: how gradients that may be sparse are added, and made dense.
_sparse = None


def add_values(a, b):
    """a + b as recorded values; a sparse gradient is a tensor."""
    try:
        return record(TABLE["add"], (), (a, b, None))[0][0]
    except SparseOperand:
        swap = getattr(a, "_sparse", False) and not getattr(b, "_sparse", False)
        return _sparse.add(b, a) if swap else _sparse.add(a, b)


def run(
    roots, tensors, *, create_graph=False, retain_graph=False, wanted=None, since=0, finish=None,
    beyond=False,
):  # fmt: skip
    """Walk the tape from ``roots``, pairs ((node, index) or leaf tensor, gradient).

    Returns {id(leaf tensor): (tensor, gradient)} and {(node, index): gradient} for the wanted
    interior edges. ``tensors`` is the dispatch module, which stands above this one. ``wanted``
    limits the walk to what reaches those targets, ``since`` to the nodes with such a number or a
    later one, of which older ones may be targets. Gradients are Values, or Tensors if
    ``create_graph``. Nodes run in the reverse order of their creation, which is a
    topological order: a call's operands are older than it. ``finish`` is called with a leaf that
    has hooks, and its gradient, as soon as that is complete; what it returns stays the leaf's.
    ``beyond`` runs the nodes of wanted interior edges, too. A gradient that is None goes on as
    None, past hooks, which see it, and user's Functions, which make zeros of it.
    """
    add = tensors.add_tensors if create_graph else add_values
    graph = tensors if create_graph else None
    leaves: dict = {}
    pending: dict = {}
    heap: list = []
    interior = {} if wanted is None else {t: None for t in wanted if t.__class__ is tuple}
    reach = None if wanted is None else _reaching(roots, wanted)
    if beyond:
        reach |= {edge[0] for edge in interior}

    anomaly = modes.anomaly == "nan"
    waiting = None if finish is None else _hooked_leaves(roots, wanted, reach)
    arrived = list(roots)
    while True:
        for edge, grad in arrived:
            if edge.__class__ is not tuple:
                if grad is not None:
                    before = leaves.pop(id(edge), None)  # the last to be complete comes last
                    leaves[id(edge)] = (edge, grad if before is None else add(before[1], grad))
                if waiting is not None and id(edge) in waiting:
                    waiting[id(edge)] -= 1
                    if not waiting[id(edge)]:
                        _finish(edge, leaves, finish)
                continue
            node, index = edge
            slots = pending.get(node)
            if slots is None:
                if reach is not None and node not in reach and edge not in interior:
                    continue
                slots = pending[node] = [None] * node.outs
                heappush(heap, (-node.number, node))
            if grad is not None:
                slots[index] = grad if slots[index] is None else add(slots[index], grad)
        if not heap:
            break
        node = heappop(heap)[1]
        grads = pending.pop(node)
        arrived = ()
        if node.number < since:
            interior.update({edge: grads[edge[1]] for edge in interior if edge[0] is node})
            continue
        if node.pre_hooks:
            grads = run_tensor_hooks(node, grads, tensors, create_graph)
        if node.retained:
            for index, ref in node.retained.items():
                tensor = ref()
                if tensor is None or grads[index] is None:
                    continue
                if tensor._node is node and tensor._index == index:  # not overwritten since
                    tensor.accumulate_grad(grads[index], create_graph, retained=True)
        if interior:
            for edge in interior:
                if edge[0] is node:
                    interior[edge] = grads[edge[1]]
        if reach is not None and node not in reach:
            continue
        if node.pre_hooks:
            grads = run_pre_hooks(node, grads, tensors, create_graph)
        try:
            if not node.takes_none and all([g is None for g in grads]):
                out = [None] * len(node.targets)
            else:
                out = node.derive(grads, graph)
        except SparseOperand:  # an op of dense tensors: the same gradient, made dense
            out = node.derive(_sparse.dense(grads, graph), graph)
        except Exception:
            if modes.anomaly is not None:
                _tell_forward(node)
            raise
        if node.plan is not None and node.plan.moved_by is not None:
            pairs = zip(out, node.plan.moved_by, strict=True)
            out = [
                g if by is None or any(grads[i] is not None for i in by) else None
                for g, by in pairs
            ]  # fmt: skip
        if node.hooks:
            out = run_hooks(node, out, grads, tensors, create_graph)
        if anomaly:
            _check_nan(node, out, tensors.to_tensor)
        if not retain_graph:
            node.release()
        arrived = zip(node.targets, out)
        if node.plan is not None and node.plan.backwards:
            arrived = reversed(list(arrived))
    if waiting is not None:  # a branch that no gradient came through leaves some of them waiting
        for edge, _ in [pair for key, pair in leaves.items() if waiting.get(key)]:
            _finish(edge, leaves, finish)
    return leaves, interior


hooked = False  # whether a leaf of this process has ever had a hook


def _hooked_leaves(roots, wanted, reach) -> dict | None:
    """{id(leaf): how many gradients will arrive} of the leaves with hooks; None without any."""
    if not hooked:
        return None
    found: dict = {}
    edges = [edge for edge, _ in roots]
    seen: set = set()
    for edge in edges:  # grows
        if edge.__class__ is tuple:
            if edge[0] not in seen and (reach is None or edge[0] in reach):
                seen.add(edge[0])
                edges += edge[0].targets
        elif (edge._hooks or edge._after_hooks) and (
            wanted is None or any(edge is w for w in wanted)
        ):
            found[id(edge)] = found.get(id(edge), 0) + 1
    return found or None


def _finish(leaf, leaves, finish) -> None:
    grad = finish(*leaves.pop(id(leaf), (leaf, None)))
    if grad is not None:
        leaves[id(leaf)] = leaf, grad


# ---- the walk again ----------------------------------------------------------------------------

_WALK = object()  # marks the keys of whole walks among the children of a prefix


def signature(root):
    """(nodes, leaves, key) of the tape below an edge, or None.

    The key says which derivatives a walk from here records, whatever the numbers: the plans of
    the nodes, which know their places in the segment, and how their gradients flow. There is none
    where user code takes part (hooks, Functions), or where a node was recorded before this segment:
    then the walk must be walked.
    """
    segment = local.segment
    nodes, place, key = [root[0]], {root[0]: 0}, [_WALK, root[1]]
    leaves, leaf_at = [], {}  # by id: to hash a tensor is a call
    put = key.append
    for node in nodes:  # grows
        if node.__class__ is not Node or node.segment is not segment:
            return None
        put(node.plan)
        for target in node.targets:
            if target.__class__ is tuple:
                below, index = target
                at = place.get(below)
                if at is None:
                    at = place[below] = len(nodes)
                    nodes.append(below)
                put(at)
                put(index)
            else:
                at = leaf_at.get(id(target))
                if at is None:
                    at = leaf_at[id(target)] = len(leaves)
                    leaves.append(target)
                put(~at)
        for value in node.saved:
            if value.__class__ is Value and value.epoch is not None:
                check_versions(node)
                break
        else:
            if node.results is not None and any(v.epoch is not None for v in node.results):
                check_versions(node)
    return nodes, leaves, tuple(key)


_number_of = attrgetter("number")


def walk_again(nodes, leaves, stretch):
    """Record a walk known by its signature; the (leaf, gradient) pairs."""
    floats, ints = [], []
    if stretch.numbers:
        for node in sorted(nodes, key=_number_of, reverse=True):  # the order of the walk
            if node.plan.call.numbers:
                floats += [x for x in node.saved if x.__class__ is float]
                ints += [x for x in node.saved if x.__class__ is int]
    values = record_stretch(stretch, floats, ints)
    for node in nodes:
        if node.plan.saves:
            node.saved = node.results = None
        node.segment = None
        node.used = True
    return zip([leaves[i] for i in stretch.order], values, strict=True)


def remember_walk(start, leaves, key, found) -> None:
    """Keep what a walk has recorded after the prefix ``start``, if it can be recorded in one go."""
    segment = local.segment
    node = segment.node
    while node is not start:
        if node is None:  # flushed on the way
            return
        node = node.parent
    slots = []
    for _, value in found.values():
        if value.segment is not segment or value.slot < start.slots:
            return
        slots.append(value.slot - start.slots)
    if segment.node.externals == start.externals:
        stretch = start.children[key] = Stretch(start, segment.node, slots)
        number = {id(leaf): i for i, leaf in enumerate(leaves)}
        stretch.order = [number[i] for i in found]  # their hooks run in the order of the walk


def _reaching(roots, wanted):
    """Nodes from which one of the wanted leaves or edges can be reached."""
    leaf_ids = {id(t) for t in wanted if t.__class__ is not tuple}
    nodes = {t[0] for t in wanted if t.__class__ is tuple}
    order, seen = [], set()
    stack = [edge[0] for edge, _ in roots if edge.__class__ is tuple]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        order.append(node)
        stack.extend(e[0] for e in node.targets if e.__class__ is tuple)
    order.sort(key=lambda n: n.number)
    reach = set()
    for node in order:  # oldest first, so that operands come before the calls on them
        for e in node.targets:
            if e.__class__ is tuple:
                if e[0] in reach or e[0] in nodes:
                    reach.add(node)
                    break
            elif id(e) in leaf_ids:
                reach.add(node)
                break
    return reach


def _tell_forward(node) -> None:
    """What anomaly detection says of the node whose derivative failed."""
    line = getattr(node.call, "line", None) or getattr(node, "line", None)
    where = "No forward pass information available. Enable detect anomaly during forward pass for "
    where += "more information."
    if line:
        file, _, number = str(line).rpartition(":")
        code = linecache.getline(file, int(number)).strip() if number.isdigit() else ""
        where = "Traceback of forward call that caused the error:\n"
        where += f'  File "{file}", line {number}\n    {code}\n'
    warn(f"Error detected in {node.name()}. {where}")


def _any(flags) -> bool:
    """Whether one is set, in whichever sample of a batch."""
    value = flags._value
    while value.array.__class__ is Batched:
        value = value.array.value
    return bool(host_array(value).any())


def _check_nan(node, out, to_tensor):
    """What anomaly detection asks for: raise where a derivative is nan."""
    for i, g in enumerate(out):
        g = None if g is None else to_tensor(g)
        if g is not None and g._sparse:
            g = g._value.segment.values
        if g is not None and _any(g != g):
            _tell_forward(node)
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
