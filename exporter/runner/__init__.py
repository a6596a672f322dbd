"""How one run goes: claim, attempts, one outcome, recorded in one place."""
