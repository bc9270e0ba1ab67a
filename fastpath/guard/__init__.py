"""Data that must stay home stays home: labels (`stage`), what routing is offered (`narrow`), the gate (`egress`)."""
