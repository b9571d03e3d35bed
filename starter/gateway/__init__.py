"""The HTTP API: takes EVT-AIG-001, starts its generation, answers at once."""
