"""Shape rules beside what tracing the same calls says."""

from torchlike._engine import inference
from torchlike._ops.table import TABLE


def said_as_traced(monkeypatch, names, calls, silent=lambda name, in_avals: None) -> None:
    """Fail where a rule differs from tracing in one of the calls, or where one says nothing at all.

    ``silent`` is told of each call that a rule leaves to the op.
    """
    said = dict.fromkeys(names, 0)

    def checked(name, rule):
        def look(statics, in_avals):
            found = rule(statics, in_avals)
            if found is None:
                silent(name, in_avals)
            else:
                traced = inference._evaluate_shapes(TABLE[name], statics, in_avals)
                assert found == traced, (name, statics, in_avals)
                said[name] += 1
            return found

        return look

    for name in names:
        TABLE[name].inferred.clear()
        rule = inference.shape_rules[name]
        monkeypatch.setitem(inference.shape_rules, name, checked(name, rule))
    for call in calls:
        call()
    assert not [name for name, count in said.items() if not count]
