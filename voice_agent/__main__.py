"""`python -m voice_agent`, the same as `voice-agent`."""

from voice_agent.cli import main

if __name__ == "__main__":
    main()
