"""Notices of other observatories, as GCN sends them: what they say, and which alerts lie where and when they point.

`notice` and `voevent` read them, `book` keeps which of them are in force for which batch, `match` compares them with alerts.
"""
