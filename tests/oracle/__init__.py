"""A second, independent matcher: plain Python over lists in memory, the oracle the SQL is compared with."""
