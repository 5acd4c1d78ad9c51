"""What runs in Spark's Python workers around science modules.

It imports nothing but pandas, pyarrow and `plugins`: a worker may run on an environment that has none of the broker's other packages.
"""
