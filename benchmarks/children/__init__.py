"""What runs in processes of its own: the loads, the stands-ins, and those we are compared with."""
