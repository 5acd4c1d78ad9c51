"""Catalogues of the sky on this machine: brought in once, then memory-mapped, one copy for all workers.

`index` finds neighbours, `store` keeps catalogues in ``HOME/catalogues``, `read` reads what astronomers have them in, `published`
gets those that Fink matches alerts with.
"""
