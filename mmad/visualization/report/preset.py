from dataclasses import dataclass


@dataclass
class Preset:
    """A threshold with a name.

    Attributes:
        name (str): Short name, for a button.
        text (str): Where it comes from.
        step (int): Position among the thresholds.
    """

    name: str
    text: str
    step: int
