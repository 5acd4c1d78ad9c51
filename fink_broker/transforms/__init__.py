"""Pure transformations, DataFrame to DataFrame: nothing here reads or writes."""
