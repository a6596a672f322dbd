def two_lines():
    return 1
