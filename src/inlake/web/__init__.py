"""HTTP: requests become submissions, receipts and errors become answers."""
