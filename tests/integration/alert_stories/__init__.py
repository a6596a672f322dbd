"""What happens from a fault to a phone, as stories that run side by side."""
