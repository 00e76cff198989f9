"""Where records come from: each source is a DataFrame on the driver, and rows of it as records in the executors."""
