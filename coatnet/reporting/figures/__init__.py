"""Figures from reports: each a function from tables to a matplotlib figure. `style` says how all of them look."""
