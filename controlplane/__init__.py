"""Everything that is not on the request path. Empty until the control process arrives; nobody imports it."""
