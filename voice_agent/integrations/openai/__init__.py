"""OpenAI: realtime transcription. Its chat models come through LangChain (`integrations.langchain`)."""
