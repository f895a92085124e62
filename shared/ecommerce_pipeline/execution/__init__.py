"""How a step runs: in a child of a warm step server, with a time-out that leaves no writer."""
