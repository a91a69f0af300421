"""LangChain: any chat model as the pipeline's LanguageModel, and the factory that builds one from `provider:model`."""
