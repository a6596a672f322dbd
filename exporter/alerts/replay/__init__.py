"""What the rules would have fired on recorded history."""
