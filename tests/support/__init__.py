"""What tests share: real hubs, waiting for conditions, users of the system, a browser."""
