"""What runs in Spark's Python workers around science modules and filters.

It imports nothing but pandas, pyarrow, PySpark and `plugins`: a worker may run on an environment that has none of the broker's other
packages.
"""
