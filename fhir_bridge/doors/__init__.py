"""Ways in: parse, hand over, show. No rule of the field lives here."""
