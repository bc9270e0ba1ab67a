"""Load for what is measured: requests by wrk and streams held open, with every key and no body twice."""
