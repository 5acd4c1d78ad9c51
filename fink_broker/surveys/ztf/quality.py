"""Fink's quality cuts on ZTF alerts."""

CUTS = {"nbad": "candidate.nbad = 0", "rb": "candidate.rb >= 0.55", "fid": "candidate.fid != 3"}
