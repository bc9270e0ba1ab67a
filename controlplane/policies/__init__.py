"""Rules about who may send what where: their table, and what may be done with them."""
