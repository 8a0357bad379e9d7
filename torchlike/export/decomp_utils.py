"""CustomDecompTable: decompositions of ATen operators, of which programs here have none."""

__all__ = ["CustomDecompTable"]


class CustomDecompTable(dict):
    """A table of decompositions: empty, as there are no ATen operators to take apart."""

    def materialize(self):
        """The table as a dict."""
        return dict(self)
