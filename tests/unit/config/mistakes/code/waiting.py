async def waits():
    return 1
