"""What is seen in a browser: pages that ask nothing of the network, their charts, tables and controls."""
