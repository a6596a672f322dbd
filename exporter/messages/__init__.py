"""How a message leaves this process, by channel."""
