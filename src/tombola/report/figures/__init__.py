"""Figures: scores, lines and heat maps as SVG and PNG."""
