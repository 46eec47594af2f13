"""Measurements of resqpy and node-resque side by side on one Redis (`bin/bench`); no tests."""
