"""The tests: rules, whole journeys, counterparties, doors and the house itself."""
