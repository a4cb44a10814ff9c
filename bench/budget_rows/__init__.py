"""The pieces of bench/budgets.py: servers, what is asked of them, rows."""
