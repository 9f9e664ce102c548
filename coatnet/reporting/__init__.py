"""Reporting: metrics from predictions, figures and a page from reports."""
