"""How good a restoration is: metrics, tables, the paper's protocol and its calibration."""
