"""What a broker, a database or a callable says of an account: equity, fills, positions."""
