"""The operators' procedures, each a function of one operator."""
