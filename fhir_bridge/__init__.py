"""Move a patient's whole record to the provider giving a second opinion."""
