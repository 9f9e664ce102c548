"""Reporting: metrics from predictions, figures from reports."""
