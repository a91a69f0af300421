"""The conversation: a pure turn machine (`turn`), what it decides by, and the asyncio shell that drives it."""
