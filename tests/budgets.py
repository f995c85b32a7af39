"""Memory budgets of PatchCore for small numbers of patches."""


def budget_for(kept, dim, choice_dim=128, itemsize=4):
    """The least budget that so many patches are kept of more."""
    capacity = -(-8 * kept // 7)
    return capacity * (itemsize * dim + 4 * choice_dim + 100)
