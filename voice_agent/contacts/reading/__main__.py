"""The child process: one request on standard input, frames on standard output (`contacts.reading.worker`)."""

from voice_agent.contacts.reading.worker import main

if __name__ == "__main__":
    main()
