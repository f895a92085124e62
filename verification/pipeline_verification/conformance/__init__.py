"""The conformance suite: every variant through every scenario, compared with control and oracle."""
